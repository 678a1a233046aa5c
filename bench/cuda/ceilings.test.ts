import assert from 'node:assert/strict';
import { it } from 'node:test';
import { FakeCuda } from '#server/backend/cuda/testing/fake-cuda.ts';
import { liveHandles } from '#server/base/handles.ts';
import { measureCeilings } from './ceilings.ts';

it('what a card can do is measured with nothing left on it', async () => {
  const cuda = new FakeCuda();
  const { bytesPerSecond, flopsPerSecond } = await measureCeilings(cuda.libraries, 1n);
  assert.ok(bytesPerSecond > 0 && flopsPerSecond > 0);
  assert.ok(cuda.calls.includes('cuMemcpyDtoDAsync_v2') && cuda.calls.includes('cublasGemmEx'));
  assert.deepEqual([cuda.open, liveHandles()], [{}, {}]);
});
