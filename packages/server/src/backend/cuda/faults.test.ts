import assert from 'node:assert/strict';
import { afterEach, describe, it, mock } from 'node:test';
import { present } from '../../base/assert.ts';
import { LoraxError } from '../../base/errors.ts';
import { liveHandles } from '../../base/handles.ts';
import { Setting } from '../../testing/setting.ts';
import { makeTinyModel } from '../../testing/tiny-model.ts';
import { ownFloats } from '../../weights/owned-tensor.ts';
import { elementCount } from '../../weights/tensor-view.ts';
import type { AdapterSlot, AdapterTensors } from '../adapters.ts';
import { oneSlot, type StepSegment } from '../step.ts';
import { CudaBackend } from './cuda-backend.ts';
import type { DeviceProperties } from './device.ts';
import { FakeCuda, type Failure } from './testing/fake-cuda.ts';
import { NO_FOLDER } from './testing/no-folder.ts';

const TINY = makeTinyModel({ num_hidden_layers: 1 });
const CARD = { index: 0, name: 'a card', major: 9, minor: 0, multiprocessorCount: 4, totalBytes: 2 ** 33 };
interface Layout {
  readonly where: string;
  /** Of each shard the card. */
  readonly devices: readonly DeviceProperties[];
  /** Of several shards, which make the same calls, not every call fails once. */
  readonly stride: number;
  /** Whether cards read each other's memory. */
  readonly reach: boolean;
}

const TWO_CARDS = [CARD, { ...CARD, index: 1 }];
const LAYOUTS: readonly Layout[] = [
  { where: 'on one card', devices: [CARD], stride: 1, reach: true },
  { where: 'in two shards on one card', devices: [CARD, CARD], stride: 5, reach: true },
  { where: 'on two cards', devices: TWO_CARDS, stride: 5, reach: true },
  { where: 'on two cards that do not reach each other', devices: TWO_CARDS, stride: 7, reach: false },
];

const ADAPTER = { rank: 3, targets: ['q_proj', 'down_proj'], dora: true };
const PROMPT = [5, 6, 7];

function openSetting(cuda: FakeCuda, devices: readonly DeviceProperties[] = [CARD]): Promise<Setting> {
  const { signal } = new AbortController();
  const open = (): Promise<CudaBackend> =>
    CudaBackend.open({ libraries: cuda.libraries, devices, precision: 'high', cacheFolder: NO_FOLDER, signal });
  return Setting.open({ open, model: TINY, stored: 'float32', dtype: 'bfloat16', cellCount: 32 });
}

function segment(tokens: readonly number[], position: number, adapter?: Parameters<typeof oneSlot>[0]): StepSegment {
  return { tokens, position, firstCell: 0, adapters: oneSlot(adapter), outputCount: 1 };
}

async function stepWith({ backend, model, kv }: Setting, ...segments: StepSegment[]): Promise<void> {
  const output = await backend.runStep(model.decoder, kv.store, segments, { reduce: true, keepHidden: true });
  for (const [i] of segments.entries()) {
    output.logits(i, 0);
    output.hidden(i, 0);
  }
}

/** All that a backend is ever asked, once. */
async function everything(setting: Setting): Promise<void> {
  const { backend } = setting;
  await stepWith(setting, segment(PROMPT, 0));
  const adapter = await setting.loadAdapter(ADAPTER);
  const head = await backend.loadAdapter(replacementOf('lm_head', setting));
  try {
    await compute(setting, adapter.slot, head);
  } finally {
    backend.unloadAdapter(head);
  }
  setting.unload(adapter);
}

async function compute(setting: Setting, adapter: AdapterSlot, head: AdapterSlot): Promise<void> {
  const { backend, model, kv } = setting;
  // One by one, as a graph that is captured, as a graph that is there.
  for (const position of [3, 4, 5]) await stepWith(setting, segment([8], position));
  await stepWith(setting, segment([8], 6, adapter), { ...segment([9], 0, head), firstCell: 8 });
  const draft = await backend.runDraft(
    (graph, hidden) => model.decoder.logits(graph, hidden),
    [{ segment: 0, output: 0, adapters: oneSlot(adapter) }],
  );
  draft.logits(0);
  kv.store.moveCells([{ from: 3, to: 4 }]);
}

/** An adapter that brings a whole weight. */
function replacementOf(path: string, { model }: Setting): AdapterTensors {
  const at = present(model.places.get(path), path);
  const { name, shape } = at.weight;
  const weight = ownFloats(name, shape, new Float32Array(elementCount(shape)));
  return { lowRank: [], replacements: [{ at, weight, bias: undefined }], weights: [] };
}

async function failureOf(work: Promise<unknown>): Promise<unknown> {
  try {
    await work;
    return undefined;
  } catch (error) {
    return error;
  }
}

interface Outcome {
  readonly error: unknown;
  readonly later: unknown;
  /** The C function. */
  readonly failed: string;
}

/** Opens, works and disposes with one call failing; what came of it. */
async function meet(failure: Failure, { devices, reach }: Layout): Promise<Outcome> {
  const cuda = new FakeCuda(failure, reach);
  let setting: Setting | undefined;
  let later: unknown;
  const error = await failureOf(
    openSetting(cuda, devices).then((opened) => {
      setting = opened;
      return everything(opened);
    }),
  );
  if (setting !== undefined) {
    later = await failureOf(stepWith(setting, segment(PROMPT, 0)));
    setting.dispose();
  }
  assert.deepEqual(
    cuda.open,
    {},
    `open after call ${failure.call} (${cuda.calls[failure.call]}) failed: ${String(error)}`,
  );
  return { error, later, failed: cuda.calls[failure.call] ?? 'nothing' };
}

function codeOf(error: unknown): string | undefined {
  assert.ok(error === undefined || error instanceof LoraxError, String((error as Error | undefined)?.stack));
  return error?.code;
}

/** How many calls opening and working take without failures. */
async function countCalls({ devices, reach }: Layout): Promise<number> {
  const cuda = new FakeCuda(undefined, reach);
  const setting = await openSetting(cuda, devices);
  await everything(setting);
  const count = cuda.calls.length;
  setting.dispose();
  assert.deepEqual(cuda.open, {});
  return count;
}

afterEach(() => {
  mock.restoreAll();
  assert.deepEqual(liveHandles(), {});
});

for (const layout of LAYOUTS) {
  const { where, stride } = layout;
  describe(`whichever call fails ${where}`, () => {
    it('for want of memory, the backend says so, leaks nothing and goes on', async () => {
      const count = await countCalls(layout);
      for (let call = 0; call < count; call += stride) {
        const { error, later, failed } = await meet({ call, cause: 'memory' }, layout);
        // NCCL does not tell what its memory is short of.
        const codes = failed.startsWith('nccl') ? ['GENERATION'] : [undefined, 'OUT_OF_MEMORY', 'ENGINE_LIBRARY'];
        assert.ok(codes.includes(codeOf(error)), String(error));
        assert.equal(later, undefined);
      }
    });

    it('with its kernel, everything after it fails at once, and nothing leaks', async () => {
      const count = await countCalls(layout);
      let opened = 0;
      for (let call = 0; call < count; call += stride) {
        const { error, later } = await meet({ call, cause: 'kernel' }, layout);
        assert.ok([undefined, 'GENERATION', 'ENGINE_LIBRARY'].includes(codeOf(error)), String(error));
        // Undefined where there was nothing to compute with.
        assert.ok([undefined, 'GENERATION'].includes(codeOf(later)), String(later));
        opened += later === undefined ? 0 : 1;
      }
      assert.ok(opened > (0.45 * count) / stride, 'about half of the calls or more are of a backend that was opened');
    });
  });
}

describe('work that never ends', () => {
  it('fails its step after a while, and everything later at once, without asking the device again', async () => {
    const cuda = new FakeCuda();
    const setting = await openSetting(cuda);
    cuda.hangs = true;
    let seconds = 0;
    mock.method(performance, 'now', () => 1000 * seconds++);
    assert.equal(codeOf(await failureOf(stepWith(setting, segment(PROMPT, 0)))), 'GENERATION');
    assert.ok(seconds > 60, 'a step may take its time');
    const asked = cuda.calls.length;
    assert.equal(codeOf(await failureOf(stepWith(setting, segment(PROMPT, 0)))), 'GENERATION');
    assert.notEqual(codeOf(await failureOf(setting.loadAdapter(ADAPTER))), undefined);
    setting.dispose();
    assert.equal(cuda.calls.length, asked);
  });

  it('holds nobody up who drops an adapter meanwhile', async () => {
    const cuda = new FakeCuda();
    const setting = await openSetting(cuda);
    const adapter = await setting.loadAdapter(ADAPTER);
    await stepWith(setting, segment(PROMPT, 0));
    cuda.hangs = true;
    const step = stepWith(setting, segment([8], 3));
    const begun = cuda.calls.length;
    const isFreed = (): boolean => cuda.calls.includes('cuMemFree_v2', begun);
    setting.unload(adapter);
    assert.ok(!isFreed());
    cuda.hangs = false;
    await step;
    assert.ok(isFreed());
    setting.dispose();
  });
});
