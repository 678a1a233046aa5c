/** The suite passes on the vectors that the repository carries, and fails where anything in a set is wrong. */

import assert from 'node:assert/strict';
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, afterEach, test } from 'node:test';
import { liveHandles } from '../base/handles.ts';
import { openSafetensors } from '../weights/safetensors.ts';
import { writeSafetensors } from '../weights/safetensors-writer.ts';
import { readFloats } from '../weights/values.ts';
import { unpackVectors } from './bundled-vectors.ts';
import { runConformance } from './command.ts';
import { PRECISIONS } from './precision.ts';

const scratch = mkdtempSync(join(tmpdir(), 'lorax-conformance-test-'));
const vectors = join(scratch, 'vectors');
unpackVectors(vectors);
after(() => rmSync(scratch, { recursive: true, force: true }));
afterEach(() => assert.deepEqual(liveHandles(), {}));

async function run(...args: string[]): Promise<{ code: number; lines: string[] }> {
  const lines: string[] = [];
  const code = await runConformance(args, (line) => lines.push(line));
  return { code, lines };
}

/** A set of one small model with one adapter, to spoil. */
function smallSet(): string {
  const set = mkdtempSync(join(scratch, 'set-'));
  for (const folder of ['models/qwen2', 'adapters/qwen2/all_r8']) {
    cpSync(join(vectors, folder), join(set, folder), { recursive: true });
  }
  return set;
}

function changeJson<T>(path: string, change: (value: T) => void): void {
  const value = JSON.parse(readFileSync(path, 'utf8')) as T;
  change(value);
  writeFileSync(path, JSON.stringify(value));
}

/** Adds to one element of a tensor. */
function changeTensor(path: string, changed: string, element: number, amount: number): void {
  const file = openSafetensors(path);
  const tensors = file.names.map((name) => {
    const view = file.get(name)!;
    const values = readFloats(view);
    if (name === changed) values[element]! += amount;
    return { name, dtype: 'float32' as const, shape: view.shape, bytes: new Uint8Array(values.buffer) };
  });
  file.dispose();
  writeSafetensors(path, tensors);
}

for (const dtype of Object.keys(PRECISIONS)) {
  test(`every vector that the repository carries passes in ${dtype}`, async () => {
    const { code, lines } = await run(vectors, '--dtype', dtype);
    assert.equal(code, 0, lines.join('\n'));
    assert.match(lines.at(-1) ?? '', /^8\d\d passed, 0 failed$/);
    const checked = lines.filter((line) => line.startsWith(`${dtype} `)).join('\n');
    for (const name of [
      'llama/dora_r8',
      'llama/pickle_bin',
      'mistral/all_r8',
      'qwen2',
      'qwen3',
      'merges/cat',
      'merges/peft_linear',
      'merges/peft_ties_frequency',
      'merges/peft_ties_total',
      'llama: mixed_batch',
    ]) {
      assert.match(checked, new RegExp(`^${dtype} ${name} +\\d+ passed`, 'm'));
    }
  });
}

test('a set whose config.json is of transformers 4 passes too', async () => {
  const set = smallSet();
  changeJson<Record<string, unknown>>(join(set, 'models/qwen2/config.json'), (config) => {
    const { rope_theta } = config['rope_parameters'] as { rope_theta: number };
    delete config['rope_parameters'];
    Object.assign(config, { rope_theta, rope_scaling: null });
  });
  const { code, lines } = await run(set, '--dtype', 'float32');
  assert.equal(code, 0, lines.join('\n'));
});

/** The faults that a spoiled set has in float32, and that they are all of the failures. */
async function faultsOf(set: string): Promise<string[]> {
  const { code, lines } = await run(set, '--dtype', 'float32');
  assert.equal(code, 1);
  const faults = lines.filter((line) => line.startsWith('  FAILED ')).map((line) => line.slice('  FAILED '.length));
  assert.match(lines.at(-1) ?? '', new RegExp(`^\\d+ passed, ${faults.length} failed`));
  assert.ok(faults.length > 0);
  return faults;
}

const faultyGroups = (faults: readonly string[]): Set<string> => new Set(faults.map((fault) => fault.split(': ')[0]!));

test('a wrong expected logit fails every comparison with it, and nothing else', async () => {
  const set = smallSet();
  changeTensor(join(set, 'models/qwen2/expected.safetensors'), 'logits.1', 321, 0.5);
  const faults = await faultsOf(set);
  assert.match(faults[0] ?? '', /^float32 qwen2: prompt 1: logits: row 1, token 1: .* expected .*, off by /);
  assert.ok(faults.every((fault) => /^float32 qwen2(: batches: qwen2 prompt 1,|: prompt 1:)/.test(fault)));
});

test('a wrong expected token or margin fails', async () => {
  const set = smallSet();
  changeJson<{ greedy: number[]; margin: number[] }[]>(
    join(set, 'adapters/qwen2/all_r8/expected.json'),
    ([first, second]) => {
      first!.greedy[9]! += 1;
      second!.margin[23]! += 0.5;
    },
  );
  const faults = (await faultsOf(set)).join('\n');
  assert.match(
    faults,
    /^float32 qwen2\/all_r8: prompt 0: greedy tokens: step 9: token \d+, expected \d+ with a margin/m,
  );
  assert.match(faults, /^float32 qwen2\/all_r8: prompt 1: greedy tokens: step 23: margin /m);
});

test('a wrong weight fails: of the model everywhere, of an adapter there alone', async () => {
  const set = smallSet();
  const adapter = join(set, 'adapters/qwen2/all_r8/adapter_model.safetensors');
  changeTensor(adapter, 'base_model.model.model.layers.1.self_attn.v_proj.lora_B.weight', 3, 0.25);
  assert.deepEqual(faultyGroups(await faultsOf(set)), new Set(['float32 qwen2/all_r8', 'float32 qwen2']));
  assert.ok((await faultsOf(set)).every((fault) => fault.includes('qwen2/all_r8')));
  changeTensor(join(set, 'models/qwen2/model.safetensors'), 'model.layers.0.mlp.up_proj.weight', 100, 0.25);
  const faults = await faultsOf(set);
  assert.ok(faults.some((fault) => fault.startsWith('float32 qwen2: prompt 0: logits')));
});

test('files that cannot be loaded are failures, and the rest is still checked', async () => {
  const set = smallSet();
  writeFileSync(join(set, 'adapters/qwen2/all_r8/adapter_model.safetensors'), 'x');
  const [fault, ...others] = await faultsOf(set);
  assert.match(fault ?? '', /^float32 qwen2\/all_r8: no result: adapter_model\.safetensors/);
  assert.deepEqual(others, []);
  writeFileSync(join(set, 'models/qwen2/config.json'), '{');
  assert.match((await faultsOf(set)).join(), /^float32 qwen2: loading: no result: .*config\.json is not valid JSON$/);
});

/** The model with the adapters that merges and the mixed batch name by letters. */
function letteredSet(...folders: readonly string[]): string {
  const set = mkdtempSync(join(scratch, 'set-'));
  const adapters = ['all_r8', 'all_r8_b', 'qv_r4'].map((name) => `adapters/llama/${name}`);
  for (const folder of ['models/llama', ...adapters, ...folders]) {
    cpSync(join(vectors, folder), join(set, folder), { recursive: true });
  }
  return set;
}

test('a wrong weight, density or sign method of a merge fails there', async () => {
  type Merge = { weights: number[]; density: number; majority_sign_method: string };
  const changes: readonly (readonly [string, (merge: Merge) => void])[] = [
    ['cat', ({ weights }) => (weights[2]! += 0.1)],
    ['peft_linear', ({ weights }) => (weights[1]! += 0.1)],
    ['peft_ties_total', (merge) => (merge.density = 0.6)],
    ['peft_ties_frequency', (merge) => (merge.majority_sign_method = 'total')],
  ];
  const set = letteredSet(...changes.map(([name]) => `merges/${name}`));
  for (const [name, change] of changes) changeJson(join(set, `merges/${name}/merge.json`), change);
  const groups = faultyGroups(await faultsOf(set));
  assert.deepEqual(
    [...groups].filter((group) => group !== 'float32 llama'),
    changes.map(([name]) => `float32 merges/${name}`).sort(),
  );
});

test('merges that cannot be compared or whose members are missing are named', async () => {
  const set = letteredSet('merges/cat', 'merges/peft_linear');
  changeJson<{ combination_type: string }>(join(set, 'merges/cat/merge.json'), (merge) => {
    merge.combination_type = 'dare_linear';
  });
  changeJson<{ adapters: string[] }>(join(set, 'merges/peft_linear/merge.json'), ({ adapters }) => (adapters[0] = 'x'));
  const { code, lines } = await run(set, '--dtype', 'float32');
  assert.equal(code, 1);
  assert.match(lines.join('\n'), /^merges\/cat +skipped: the combination type dare_linear is not compared$/m);
  assert.match(lines.join('\n'), /FAILED float32 merges\/peft_linear: no result: its member x is not loaded$/m);
});

test('a wrong row of the mixed batch fails', async () => {
  const set = letteredSet('mixed_batch');
  changeTensor(join(set, 'mixed_batch/expected.safetensors'), 'logits.3', 0, 0.5);
  const [fault, ...others] = await faultsOf(set);
  assert.match(fault ?? '', /^float32 llama: mixed_batch: row 3: row 0, token 0/);
  assert.deepEqual(others, []);
});

test('a wrong encoding or chat fails', async () => {
  const set = mkdtempSync(join(scratch, 'set-'));
  const folder = join(set, 'tokenizers/bpe_metaspace_llama2');
  cpSync(join(vectors, 'tokenizers/bpe_metaspace_llama2'), folder, { recursive: true });
  type Expected = { encodings: { ids_no_special: number[] }[]; chats: { rendered: string }[] };
  changeJson<Expected>(join(folder, 'expected.json'), ({ encodings, chats }) => {
    encodings[0]!.ids_no_special.push(5);
    chats[1]!.rendered += ' ';
  });
  const faults = await faultsOf(set);
  assert.deepEqual(
    faults.map((fault) => fault.split(': ').slice(0, 2).join(': ')),
    ['encoding of "Hello, world!"', 'decoding of "Hello, world!"', 'chat 1'].map(
      (check) => `tokenizers/bpe_metaspace_llama2: ${check}`,
    ),
  );
});

test('what is not checked is named with the reason', async () => {
  const set = smallSet();
  const files = {
    'models/gemma/config.json': '{"model_type":"gemma"}',
    'adapters/gemma/all_r8/adapter_config.json': '{}',
    'adapters/phi3/fused_r8/adapter_config.json': '{}',
    'adapters/qwen2/heads/config.json': '{"medusa_num_heads":3}',
    'adapters/qwen2/unanswered/adapter_config.json': '{}',
    'merges/cat/merge.json': '{}',
    'something/else.json': '{}',
    'mixed_batch/rows.json': '[]',
    'tokenizers/odd/tokenizer.json': '{}',
  };
  for (const [path, content] of Object.entries(files)) {
    mkdirSync(join(set, path, '..'), { recursive: true });
    writeFileSync(join(set, path), content);
  }
  const { code, lines } = await run(set, '--dtype', 'float32');
  assert.equal(code, 0);
  const skipped = lines.flatMap((line) => (/ skipped: /.test(line) ? [line.replace(/ +skipped: /, ': ')] : []));
  assert.deepEqual(skipped.sort(), [
    'adapters/gemma/all_r8: model_type gemma is not served',
    'adapters/phi3/fused_r8: models/phi3 is not in the set',
    'adapters/qwen2/heads: there is no expected.safetensors to compare with',
    'adapters/qwen2/unanswered: there is no expected.json to compare with',
    'merges/cat: its model llama is not in the set',
    'mixed_batch: its model llama is not in the set',
    'models/gemma: model_type gemma is not served',
    'something: this suite knows no such vectors',
    'tokenizers/odd: there is no expected.json to compare with',
  ]);
  assert.match(lines.at(-1) ?? '', /^\d+ passed, 0 failed, 9 skipped$/);
});

test('a folder without vectors is a failure that says so', async () => {
  const empty = mkdtempSync(join(scratch, 'set-'));
  assert.deepEqual(await run(empty), {
    code: 1,
    lines: [`${empty} holds no reference vectors`, '0 passed, 0 failed'],
  });
  assert.equal((await run(join(empty, 'missing'))).code, 1);
});

test('arguments that cannot be used end with the usage', async () => {
  for (const args of [['--dtype', 'int8'], ['--threads', '0'], ['--unknown'], ['a', 'b']]) {
    const { code, lines } = await run(...args);
    assert.equal(code, 2);
    assert.match(lines.join('\n'), /^usage: npm run conformance/);
  }
});
