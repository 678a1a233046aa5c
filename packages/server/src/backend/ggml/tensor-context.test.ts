import assert from 'node:assert/strict';
import { it } from 'node:test';
import { LoraxError } from '../../base/errors.ts';
import { liveHandles } from '../../base/handles.ts';
import { NULL } from '../../native/ffi.ts';
import type { Ggml } from './functions.ts';
import { loadGgml } from './library.ts';
import { TensorContext } from './tensor-context.ts';

it('an allocation that fails frees the context once, whoever disposes it again', () => {
  const { ggml } = loadGgml();
  let freedCount = 0;
  const exhausted: Ggml = {
    ...ggml,
    allocTensors: () => NULL,
    free: (context) => {
      freedCount++;
      ggml.free(context);
    },
  };
  const context = new TensorContext(exhausted, 1);
  context.vector(4);
  assert.throws(
    () => context.allocate(NULL),
    (error: unknown) => error instanceof LoraxError && error.code === 'OUT_OF_MEMORY',
  );
  context.dispose();
  assert.equal(freedCount, 1);
  assert.deepEqual(liveHandles(), {});
});
