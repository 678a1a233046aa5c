import assert from 'node:assert/strict';
import { it } from 'node:test';
import { liveHandles } from '../../base/handles.ts';
import { addressOf } from '../../native/ffi.ts';
import { rowMajorStrides, type TensorView } from '../../weights/tensor-view.ts';
import { CudaDevice } from './device.ts';
import { FakeCuda } from './testing/fake-cuda.ts';
import { Uploader } from './uploader.ts';

const PROPERTIES = { index: 0, name: 'a card', major: 9, minor: 0, totalBytes: 2 ** 33, multiprocessorCount: 132 };
/** As an adapter's are: many, and each small. */
const SHAPE = [16, 8192];
const TENSORS = 64;

it('small tensors that go up leave steps their turns', async () => {
  const cuda = new FakeCuda();
  const device = new CudaDevice(cuda.libraries, PROPERTIES, new Map());
  const uploader = new Uploader(device);
  const numbers = new Uint16Array(SHAPE[0]! * SHAPE[1]!);
  const address = addressOf(numbers.buffer);
  const view: TensorView = { name: 'a', dtype: 'bfloat16', shape: SHAPE, strides: rowMajorStrides(SHAPE), address };
  let turns = 0;
  let isUp = false;
  const uploads = Array.from({ length: TENSORS }, (_, i) => uploader.upload(view, BigInt(1 + i), 'bfloat16'));
  const up = Promise.all(uploads).then(() => (isUp = true));
  while (!isUp) {
    turns++;
    await new Promise((resolve) => setImmediate(resolve));
  }
  await up;
  // 16 MiB.
  assert.ok(turns >= 16, `${turns} turns`);
  assert.equal(cuda.calls.filter((name) => name === 'cuMemcpyHtoDAsync_v2').length, TENSORS);
  uploader.dispose();
  device.dispose();
  assert.deepEqual([cuda.open, liveHandles()], [{}, {}]);
});
