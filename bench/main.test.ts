import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { writeSafetensors } from '#server/weights/safetensors-writer.ts';
import { DRAFT_MODES } from './drafting-modes.ts';
import { RandomWords, randomTensor } from './random-tensors.ts';

const MAIN = fileURLToPath(new URL('main.js', import.meta.url));
const SHAPE = '{"hiddenSize":64,"layerCount":2,"headCount":4,"kvHeadCount":2,"intermediateSize":96,"vocabSize":320}';

const folder = mkdtempSync(join(tmpdir(), 'lorax-bench-'));
after(() => rmSync(folder, { recursive: true }));

function bench(...args: readonly string[]) {
  return spawnSync(process.execPath, [MAIN, '--cache', folder, ...args], { encoding: 'utf8' });
}

function records(file: string): Record<string, unknown>[] {
  const lines = readFileSync(file, 'utf8').trim().split('\n');
  return lines.map((line) => JSON.parse(line) as Record<string, unknown>);
}

test('streams of base and adapters run against the engine and through HTTP, and every token is counted', () => {
  const json = join(folder, 'scenarios.jsonl');
  const lengths = ['--prompt-len', '5', '--new-tokens', '16', '--repeat', '1'];
  const { status, stdout, stderr } = bench('--shape', SHAPE, '--streams', '1,3', ...lengths, '--json', json);
  assert.equal(status, 0, stderr);
  for (const target of ['step over base', 'work outside the backend', 'event-loop delay p99']) {
    assert.match(stdout, new RegExp(`^(reached|missed) .*${target}`, 'm'));
  }
  const scenarios = records(json).filter(({ kind }) => kind === 'scenario') as unknown as ScenarioRecord[];
  assert.ok(scenarios.some(({ scenario }) => scenario.over === 'http'));
  for (const { scenario, runCount, generatedTokens, split } of scenarios) {
    assert.equal(generatedTokens, runCount * scenario.streams.length * scenario.newTokens, scenario.name);
    // Streams this short are not always there together, and then no step counts.
    if (split.stepCount > 0) assert.ok(split.computeMs > 0 && split.computeMs <= split.totalMs, scenario.name);
  }
  assert.deepEqual(
    scenarios.flatMap(({ adapterLoadMs }) => adapterLoadMs).length,
    1,
    'one scenario loads an adapter while streams generate',
  );
});

test('steps are tabulated by rows at both precisions, over the model of the run before', () => {
  const made = readdirSync(folder);
  const json = join(folder, 'rows.jsonl');
  const { status, stderr } = bench('--shape', SHAPE, '--rows', '1,3', '--json', json);
  assert.equal(status, 0, stderr);
  const rows = records(json).filter(({ kind }) => kind === 'rows');
  assert.deepEqual(
    rows.map(({ precision, rows: count }) => [precision, count]),
    [
      ['high', 1],
      ['high', 3],
      ['medium', 1],
      ['medium', 3],
    ],
  );
  assert.ok(rows.every(({ baseMs, adaptersMs }) => Number(baseMs) > 0 && Number(adaptersMs) > 0));
  assert.deepEqual(readdirSync(folder).toSorted(), [...made, 'rows.jsonl'].toSorted());
});

test('every way of drafting answers the same requests at each number of streams, over any model and its heads', () => {
  const model = join(folder, 'random-64-2-4-2-96-320-bfloat16', 'base');
  const json = join(folder, 'drafting.jsonl');
  const lengths = ['--streams', '1,2', '--new-tokens', '4', '--repeat', '1'];
  const { status, stdout, stderr } = bench(
    '--drafting',
    '--model',
    model,
    '--heads',
    writeHeads(),
    ...lengths,
    '--json',
    json,
  );
  assert.equal(status, 0, stderr);
  assert.match(stdout, /^\d+ of 16 at most 3 % slower than without drafts$/m);
  const found = records(json).filter(({ kind }) => kind === 'drafting') as unknown as DraftingRecord[];
  assert.deepEqual(
    found.map(({ mode, load: { sampled, streamCount } }) => [sampled, streamCount, mode].join()),
    [false, true].flatMap((sampled) =>
      [1, 2].flatMap((count) => Object.keys(DRAFT_MODES).map((mode) => [sampled, count, mode].join())),
    ),
  );
  for (const { speed, tokensPerSecond } of found) assert.ok(speed.low > 0 && tokensPerSecond > 0);
});

test('a wrong flag is named, and nothing is made', () => {
  for (const [args, message] of [
    [['--shape', 'huge'], /--shape: is mistral-7b, tinyllama, demo, small or a JSON object/],
    [['--streams', '0'], /--streams: must be a whole number/],
    [['--dtype', 'int8'], /--dtype: must be one of bfloat16, float16, float32/],
    [['--speed'], /--speed/],
  ] as const) {
    const { status, stderr, stdout } = bench(...args);
    assert.deepEqual([status, stdout], [1, '']);
    assert.match(stderr, message);
  }
});

/** Three random heads. */
function writeHeads(): string {
  const heads = join(folder, 'heads');
  mkdirSync(heads);
  const words = new RandomWords(1);
  const tensors = [0, 1, 2].flatMap((head) => [
    randomTensor(words, `${head}.0.linear.weight`, 'float32', [64, 64]),
    randomTensor(words, `${head}.0.linear.bias`, 'float32', [64]),
  ]);
  writeSafetensors(join(heads, 'medusa_lm_head.safetensors'), tensors);
  const config = { medusa_num_heads: 3, medusa_num_layers: 1, version: 2, base_model_name_or_path: 'lorax-demo/base' };
  writeFileSync(join(heads, 'config.json'), JSON.stringify(config));
  return heads;
}

interface DraftingRecord {
  readonly mode: string;
  readonly load: { readonly streamCount: number; readonly sampled: boolean };
  readonly speed: { readonly low: number };
  readonly tokensPerSecond: number;
}

interface ScenarioRecord {
  readonly scenario: {
    readonly name: string;
    readonly over: string;
    readonly streams: readonly unknown[];
    readonly newTokens: number;
  };
  readonly runCount: number;
  readonly generatedTokens: number;
  readonly split: { readonly stepCount: number; readonly computeMs: number; readonly totalMs: number };
  readonly adapterLoadMs: readonly number[];
}
