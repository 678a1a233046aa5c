/**
 * Everything that the server counts, under LoRAX's names so that its dashboards work, in a registry of its own.
 * Knows nothing about who counts. `docs/reference/metrics.md` is generated from `described`.
 */

import { collectDefaultMetrics, Counter, Gauge, Histogram, Registry } from 'prom-client';

export interface MetricLimits {
  readonly maxInputLength: number;
  readonly maxTotalTokens: number;
}

export interface MetricDescription {
  readonly name: string;
  readonly type: 'counter' | 'gauge' | 'histogram';
  readonly labels: readonly string[];
  readonly help: string;
}

export interface CounterSample<L extends string> {
  readonly labels: Readonly<Record<L, string | number>>;
  readonly value: number;
}

export type Metrics = ReturnType<typeof createMetrics>;

/** 0.15 ms to 146 s, each half as long again as the one before. */
const SECONDS = Array.from({ length: 35 }, (_, index) => 0.00015 * 1.5 ** index);
const ROWS = Array.from({ length: 11 }, (_, index) => 2 ** index);

export function createMetrics({ maxInputLength, maxTotalTokens }: MetricLimits) {
  const registry = new Registry();
  const { counter, gauge, histogram, tally, described } = metricMakers(registry);
  const inputTokens = hundredSteps(maxInputLength);
  const totalTokens = hundredSteps(maxTotalTokens);
  collectDefaultMetrics({ register: registry });
  return {
    registry,
    described,

    requestCount: counter('request_count', 'Requests that arrived'),
    requestSuccess: counter('request_success', 'Requests that were answered in full'),
    requestFailure: counter<'err'>(
      'request_failure',
      'Requests that failed: overloaded, validation, template, incomplete, dropped or generation',
      ['err'],
    ),
    requestDuration: histogram('request_duration', "Seconds from a request's arrival to its last token", SECONDS),
    requestValidationDuration: histogram('request_validation_duration', 'Seconds of validation', SECONDS),
    requestQueueDuration: histogram('request_queue_duration', 'Seconds of waiting for a row', SECONDS),
    requestInferenceDuration: histogram('request_inference_duration', 'Seconds from first to last step', SECONDS),
    requestMeanTimePerTokenDuration: histogram(
      'request_mean_time_per_token_duration',
      'Seconds a generated token, averaged over a request',
      SECONDS,
    ),
    requestGeneratedTokens: histogram('request_generated_tokens', 'Generated tokens of a request', totalTokens),
    requestInputLength: histogram('request_input_length', 'Prompt tokens of a request', inputTokens),
    requestMaxNewTokens: histogram('request_max_new_tokens', 'Tokens that a request may generate', totalTokens),
    requestSkippedTokens: histogram(
      'request_skipped_tokens',
      'Generated tokens of a request that were accepted from a draft',
      [0, ...totalTokens],
    ),

    queueLength: gauge('queue_length', 'Requests that wait for a row'),
    batchCurrentSize: gauge('batch_current_size', 'Rows that are running'),
    batchCurrentMaxTokens: gauge('batch_current_max_tokens', 'KV cells that the running rows may come to need'),
    batchNextSize: histogram('batch_next_size', 'Rows that joined a step together', ROWS),
    batchInferenceCount: counter<'method'>(
      'batch_inference_count',
      'Steps that began, by prefill (with prompt tokens) or decode',
      ['method'],
    ),
    batchInferenceSuccess: counter<'method'>('batch_inference_success', 'Steps that ended well', ['method']),
    batchInferenceFailure: counter<'method'>('batch_inference_failure', 'Steps that failed', ['method']),
    batchInferenceDuration: histogram<'method'>('batch_inference_duration', 'Seconds of a step', SECONDS, ['method']),

    draftSteps: counter('draft_steps_total', 'Steps that verified drafts'),
    draftsVerified: tally('drafts_verified_total', 'Drafts that were verified: one for each sequence of such a step', [
      'adapter',
    ]),
    draftTokensDrafted: tally(
      'draft_tokens_drafted_total',
      'Tokens of those drafts by their place, 1 being the first',
      ['adapter', 'place'],
    ),
    draftTokensAccepted: tally(
      'draft_tokens_accepted_total',
      'Drafted tokens that were right, as were those on the places before',
      ['adapter', 'place'],
    ),
    draftHeadsDuration: histogram('draft_heads_duration', 'Seconds of a run of the draft heads', SECONDS),

    adaptersResident: gauge('adapters_resident', 'Adapters that are in memory'),
    adapterBytes: gauge('adapter_bytes', 'Bytes of the adapters that are in memory, or on their way'),
    adapterDiskBytes: gauge('adapter_disk_bytes', 'Bytes of the adapters that this server keeps on disk'),
    adapterHostBytes: gauge('adapter_host_bytes', 'Bytes of the adapters that are kept for another load'),
    adapterQueueLength: gauge('adapter_queue_length', 'Requests that wait for room for their adapter'),
    kvCellsUsed: gauge('kv_cells_used', 'KV cells that hold a token'),
    kvCellsTotal: gauge('kv_cells_total', 'KV cells there are'),
    adapterLoadDuration: histogram('adapter_load_duration', 'Seconds of loading an adapter', SECONDS),
    adapterEvictions: counter('adapter_evictions', 'Adapters that made room for others, or were unloaded'),
    adapterLoadFailure: counter('adapter_load_failure', 'Adapters that could not be loaded'),
  };
}

/** Functions that make one metric each in `registry`, and the list of what they made. */
function metricMakers(registry: Registry) {
  const described: MetricDescription[] = [];
  const describe = <L extends string>(type: MetricDescription['type'], key: string, help: string, labels: L[]) => {
    const name = `lorax_${key}`;
    described.push({ name, type, help, labels });
    return { name, help, labelNames: labels, registers: [registry] };
  };
  return {
    described: described as readonly MetricDescription[],
    counter: <L extends string = never>(key: string, help: string, labels: L[] = []) =>
      new Counter<L>(describe('counter', key, help, labels)),
    /** Read when the metrics are, once something `watch`es; so nothing has to keep it current. */
    gauge: (key: string, help: string) => {
      let read = (): number | undefined => undefined;
      const gauge: Gauge<never> = new Gauge<never>({
        ...describe('gauge', key, help, []),
        collect: () => {
          const value = read();
          if (value !== undefined) gauge.set(value);
        },
      });
      return Object.assign(gauge, { watch: (source: () => number) => void (read = source) });
    },
    histogram: <L extends string = never>(key: string, help: string, buckets: number[], labels: L[] = []) =>
      new Histogram<L>({ ...describe('histogram', key, help, labels), buckets }),
    /** A counter that something else counts for, from when on `watch` names it; so its steps make no labels. */
    tally: <L extends string>(key: string, help: string, labels: L[]) => {
      let read = (): readonly CounterSample<L>[] => [];
      const counter: Counter<L> = new Counter<L>({
        ...describe('counter', key, help, labels),
        collect: () => {
          counter.reset();
          for (const { labels: values, value } of read()) counter.inc(values, value);
        },
      });
      return Object.assign(counter, { watch: (source: () => readonly CounterSample<L>[]) => void (read = source) });
    },
  };
}

function hundredSteps(max: number): number[] {
  return Array.from({ length: 100 }, (_, index) => (max / 100) * (index + 1));
}
