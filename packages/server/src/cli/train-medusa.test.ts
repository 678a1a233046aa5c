import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { Command } from 'commander';
import { LoraxError } from '../base/errors.ts';
import { liveHandles } from '../base/handles.ts';
import { declareTable, readTable } from '../config/command-line.ts';
import { readServe } from '../config/testing.ts';
import { MEDUSA_OPTIONS, type MedusaOptions } from '../config/train-options.ts';
import { openTrainingBase } from '../server.ts';
import { createLogger } from '../telemetry/log.ts';
import { makeTinyAdapter, writeTinyAdapter } from '../testing/tiny-adapter.ts';
import { makeTinyModel, writeTinyModel, type TinyModel } from '../testing/tiny-model.ts';
import { silent } from '../training/testing/training-setting.ts';
import { checkMedusaOptions, trainMedusa, type TrainedHeads } from '../training/train-medusa.ts';
import { openSafetensors } from '../weights/safetensors.ts';
import { readFloats } from '../weights/values.ts';

const { signal } = new AbortController();
const tools = { log: createLogger({ level: 'silent', json: true }), progress: silent, signal };
const BRIEF = ['--num-train-epochs', '2', '--per-device-train-batch-size', '2', '--gradient-accumulation-steps', '2'];

describe('training heads over a model', () => {
  let root: string;
  let tiny: TinyModel;
  let data: string;
  let runCount = 0;
  before(() => {
    root = mkdtempSync(join(tmpdir(), 'lorax-training-'));
    tiny = makeTinyModel();
    writeTinyModel(join(root, 'model'), tiny, 'bfloat16');
    for (const [name, targets] of [
      ['hidden', ['q_proj', 'up_proj']],
      ['output', ['lm_head']],
    ] as const) {
      writeTinyAdapter(join(root, 'adapters', name), makeTinyAdapter(tiny, { rank: 2, targets }));
    }
    data = join(root, 'data.jsonl');
    const record = (i: number): string => JSON.stringify({ prompt: `ab${i}`, completion: 'cdefgh'.repeat(3) });
    writeFileSync(data, Array.from({ length: 10 }, (_, i) => record(i)).join('\n'));
  });
  after(() => {
    rmSync(root, { recursive: true });
    assert.deepEqual(liveHandles(), {});
  });

  function optionsFrom(args: readonly string[]): MedusaOptions {
    const command = new Command('medusa').exitOverride();
    declareTable(command, MEDUSA_OPTIONS);
    return readTable(command.parse(args, { from: 'user' }), MEDUSA_OPTIONS);
  }

  async function train(args: readonly string[], adapter?: string): Promise<TrainedHeads & { readonly folder: string }> {
    const folder = join(root, `heads-${runCount++}`);
    const wanted = optionsFrom(['--data', data, '--output-dir', folder, '--eval-fraction', '0.2', ...BRIEF, ...args]);
    checkMedusaOptions(wanted);
    const ofAdapter = adapter === undefined ? [] : ['--adapter-id', adapter];
    const serve = ['--model-id', join(root, 'model'), '--adapter-root', root, '--threads', '1'];
    const base = await openTrainingBase(readServe([...serve, ...ofAdapter]).options, tools);
    try {
      return await trainMedusa(base, wanted, tools);
    } finally {
      await base.dispose();
    }
  }

  const configOf = (folder: string): Record<string, unknown> =>
    JSON.parse(readFileSync(join(folder, 'config.json'), 'utf8')) as Record<string, unknown>;

  function tensorsOf(folder: string): Record<string, readonly number[]> {
    const file = openSafetensors(join(folder, 'medusa_lm_head.safetensors'));
    try {
      return Object.fromEntries(
        file.names.toSorted().map((name) => {
          const view = file.get(name)!;
          assert.equal(view.dtype, 'bfloat16');
          assert.ok(
            readFloats(view).some((value) => value !== 0),
            `${name} has learnt something`,
          );
          return [name, view.shape];
        }),
      );
    } finally {
      file.dispose();
    }
  }

  it('version 2: one layer, no output layer of its own', async () => {
    const { folder, evaluation, updateCount } = await train(['--medusa-num-heads', '2']);
    assert.deepEqual(configOf(folder), {
      ...{ medusa_num_heads: 2, medusa_num_layers: 1, version: '2', base_model_name_or_path: join(root, 'model') },
    });
    assert.deepEqual(tensorsOf(folder), {
      ...{ '0.0.linear.bias': [32], '0.0.linear.weight': [32, 32] },
      ...{ '1.0.linear.bias': [32], '1.0.linear.weight': [32, 32] },
    });
    assert.deepEqual([updateCount, evaluation?.length], [4, 2]);
    const card = readFileSync(join(folder, 'README.md'), 'utf8');
    assert.ok(card.includes(`| 0 | 2 | ${(100 * evaluation![0]!.top1!).toFixed(1)} % |`), card);
    assert.deepEqual(readdirSync(folder).toSorted(), [
      ...['README.md', 'config.json', 'loss.jsonl', 'loss.svg', 'medusa_lm_head.safetensors'],
    ]);
  });

  it('version 1: more layers, and an output layer for each head', async () => {
    const { folder } = await train(['--medusa-num-heads', '1', '--medusa-num-layers', '2']);
    assert.equal(configOf(folder)['version'], '1');
    assert.deepEqual(tensorsOf(folder), {
      ...{ '0.0.linear.bias': [32], '0.0.linear.weight': [32, 32] },
      ...{ '0.1.linear.bias': [32], '0.1.linear.weight': [32, 32] },
      ...{ '0.2.weight': [264, 32] },
    });
  });

  it('over an adapter the folder is a composite: its files lie beside the heads, which learnt from its states', async () => {
    const [bare, composite] = [await train([]), await train([], 'adapters/hidden')];
    for (const name of ['adapter_config.json', 'adapter_model.safetensors']) {
      const original = readFileSync(join(root, 'adapters', 'hidden', name));
      assert.deepEqual(readFileSync(join(composite.folder, name)), original);
      assert.ok(!existsSync(join(bare.folder, name)));
    }
    assert.notDeepEqual(composite.evaluation, bare.evaluation);
  });

  it('an adapter that changes the output layer is refused for version 2, and taken for version 1', async () => {
    await assert.rejects(
      train([], 'adapters/output'),
      (error: unknown) =>
        error instanceof LoraxError && /option --adapter-id: changes the output layer/.test(error.message),
    );
    const { folder } = await train(['--medusa-version', '1'], 'adapters/output');
    assert.ok(existsSync(join(folder, 'adapter_model.safetensors')));
  });

  it('the server knows trained heads for what they are, and heads over heads are refused', async () => {
    for (const over of [undefined, 'adapters/hidden']) {
      const { folder } = await train([], over);
      await assert.rejects(train([], basename(folder)), /option --adapter-id: heads-\d+ has heads already/);
    }
  });

  it('what cannot be is refused before anything is loaded', async () => {
    const { folder } = await train([]);
    const refusals: [string[], RegExp][] = [
      [['--output-dir', folder], /--data: is required/],
      [['--data', data], /--output-dir: is required/],
      [['--data', data, '--output-dir', folder], /--output-dir: heads-\d+ holds trained heads already/],
      [
        ['--data', data, '--output-dir', root, '--medusa-version', '2', '--medusa-num-layers', '2'],
        /--medusa-version: 2 has one/,
      ],
    ];
    for (const [args, message] of refusals) assert.throws(() => checkMedusaOptions(optionsFrom(args)), message);
    checkMedusaOptions(optionsFrom(['--data', data, '--output-dir', folder, '--overwrite-output-dir']));
  });

  it('data that teaches nothing is refused', async () => {
    // The special token in front and the prompt fill it.
    await assert.rejects(train(['--model-max-length', '4']), /data\.jsonl: no record teaches anything/);
  });
});
