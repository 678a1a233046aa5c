import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { liveHandles } from '../../base/handles.ts';
import { CudaBackend } from './cuda-backend.ts';
import { kernelFiles } from './kernel-files.ts';
import { FakeCuda } from './testing/fake-cuda.ts';
import { NO_FOLDER } from './testing/no-folder.ts';

const HOPPER = { index: 0, name: 'a card', major: 9, minor: 0, multiprocessorCount: 4, totalBytes: 2 ** 33 };
const AMPERE = { ...HOPPER, index: 1, major: 8 };

async function countCompilations(...devices: (typeof HOPPER)[]): Promise<number> {
  const cuda = new FakeCuda();
  const { signal } = new AbortController();
  const parts = { libraries: cuda.libraries, devices, cacheFolder: NO_FOLDER, signal };
  const backend = await CudaBackend.open({ ...parts, precision: 'high' });
  backend.dispose();
  assert.deepEqual([cuda.open, liveHandles()], [{}, {}]);
  return cuda.calls.filter((name) => name === 'nvrtcCompileProgram').length;
}

describe('a backend on several cards', () => {
  it('compiles once for those that are alike, and for each kind of others', async () => {
    const [ofHopper, ofAmpere] = [kernelFiles(HOPPER).length, kernelFiles(AMPERE).length];
    assert.notEqual(ofHopper, ofAmpere);
    assert.equal(await countCompilations(HOPPER, { ...HOPPER, index: 1 }), ofHopper);
    assert.equal(await countCompilations(HOPPER, AMPERE), ofHopper + ofAmpere);
  });
});
