import assert from 'node:assert/strict';
import { test } from 'node:test';

import { metricsJson } from './metrics-json.ts';
import { createMetrics } from './metrics.ts';

const make = () => createMetrics({ maxInputLength: 1000, maxTotalTokens: 2000 });

/** LoRAX's names; its dashboards and alerts use them. */
const LORAX_NAMES = {
  counter: [
    'lorax_request_count',
    'lorax_request_success',
    'lorax_request_failure',
    'lorax_batch_inference_count',
    'lorax_batch_inference_success',
    'lorax_batch_inference_failure',
  ],
  gauge: ['lorax_queue_length', 'lorax_batch_current_size', 'lorax_batch_current_max_tokens'],
  histogram: [
    'lorax_request_duration',
    'lorax_request_validation_duration',
    'lorax_request_queue_duration',
    'lorax_request_inference_duration',
    'lorax_request_mean_time_per_token_duration',
    'lorax_request_generated_tokens',
    'lorax_request_input_length',
    'lorax_request_max_new_tokens',
    'lorax_request_skipped_tokens',
    'lorax_batch_next_size',
    'lorax_batch_inference_duration',
  ],
};

const bounds = (text: string, name: string) =>
  [...text.matchAll(new RegExp(`^${name}_bucket\\{le="([^"]+)"`, 'gm'))].map(([, bound]) => Number(bound));

test("LoRAX's metrics are there under its names and types", async () => {
  const text = await make().registry.metrics();
  for (const [type, names] of Object.entries(LORAX_NAMES)) {
    for (const name of names) assert.match(text, new RegExp(`^# TYPE ${name} ${type}$`, 'm'));
  }
});

test('so are the metrics of the process, with the delay of the event loop', async () => {
  const text = await make().registry.metrics();
  assert.match(text, /^process_resident_memory_bytes \d/m);
  assert.match(text, /^nodejs_eventloop_lag_p99_seconds /m);
});

test("buckets are LoRAX's", async () => {
  const metrics = make();
  metrics.requestDuration.observe(1);
  const text = await metrics.registry.metrics();
  const seconds = bounds(text, 'lorax_request_duration');
  assert.equal(seconds.length, 36);
  assert.equal(seconds[0], 0.00015);
  assert.ok(Math.abs((seconds[34] ?? 0) - 145.6) < 0.1);
  assert.equal(seconds[35], NaN, 'prom-client writes +Inf, which JavaScript reads as NaN');
  assert.deepEqual(bounds(text, 'lorax_request_input_length').slice(0, 2), [10, 20]);
  assert.equal(bounds(text, 'lorax_request_input_length')[99], 1000);
  assert.equal(bounds(text, 'lorax_request_generated_tokens')[99], 2000);
  assert.equal(bounds(text, 'lorax_batch_next_size')[10], 1024);
});

test('two servers in one process count apart', async () => {
  const [one, other] = [make(), make()];
  one.requestCount.inc();
  assert.match(await one.registry.metrics(), /^lorax_request_count 1$/m);
  assert.match(await other.registry.metrics(), /^lorax_request_count 0$/m);
});

test('the list for the reference page names exactly what is registered', () => {
  const { described, registry } = make();
  const registered = registry.getMetricsAsArray().map(({ name }) => name);
  assert.deepEqual(
    described.map(({ name }) => name),
    registered.filter((name) => name.startsWith('lorax_')),
  );
});

test("JSON has LoRAX's shape: what is labelled has its full name as key", async () => {
  const metrics = make();
  metrics.requestCount.inc(2);
  metrics.requestFailure.inc({ err: 'validation' });
  metrics.requestSkippedTokens.observe(3);
  metrics.batchInferenceDuration.observe({ method: 'decode' }, 0.1);
  const json = await metricsJson(metrics.registry);
  assert.deepEqual(json['lorax_request_count'], { type: 'counter', data: [{ key: '', value: 2 }] });
  assert.deepEqual(json['lorax_request_failure'], {
    type: 'counter',
    data: [{ key: 'lorax_request_failure{err="validation"}', value: 1 }],
  });
  const skipped = json['lorax_request_skipped_tokens']?.data ?? [];
  assert.deepEqual(
    skipped.filter(({ key }) => !key.includes('{')),
    [
      { key: 'sum', value: 3 },
      { key: 'count', value: 1 },
    ],
  );
  const keys = json['lorax_batch_inference_duration']?.data.map(({ key }) => key) ?? [];
  assert.ok(keys.includes('lorax_batch_inference_duration_count{method="decode"}'));
});

test('a watched gauge is read anew for every answer, others keep what was set', async () => {
  const metrics = make();
  let used = 1;
  metrics.kvCellsUsed.watch(() => used);
  metrics.kvCellsTotal.set(7);
  assert.match(await metrics.registry.metrics(), /^lorax_kv_cells_used 1$/m);
  used = 2;
  const json = await metricsJson(metrics.registry);
  assert.deepEqual(json['lorax_kv_cells_used']?.data, [{ key: '', value: 2 }]);
  assert.deepEqual(json['lorax_kv_cells_total']?.data, [{ key: '', value: 7 }]);
});

test('a tally is read anew for every answer, with one series for each of its samples', async () => {
  const metrics = make();
  let samples = [{ labels: { adapter: 'poet' }, value: 3 }];
  metrics.draftsVerified.watch(() => samples);
  assert.match(await metrics.registry.metrics(), /^lorax_drafts_verified_total\{adapter="poet"\} 3$/m);
  samples = [{ labels: { adapter: 'poet' }, value: 5 }];
  for (let times = 0; times < 2; times++) {
    assert.match(await metrics.registry.metrics(), /^lorax_drafts_verified_total\{adapter="poet"\} 5$/m);
  }
});
