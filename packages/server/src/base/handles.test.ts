import assert from 'node:assert/strict';
import { it } from 'node:test';
import { countHandle, liveHandles } from './handles.ts';

it('live handles are counted by kind, and kinds without any are left out', () => {
  countHandle('file', 1);
  countHandle('file', 1);
  countHandle('worker', 1);
  countHandle('file', -1);
  assert.deepEqual(liveHandles(), { file: 1, worker: 1 });
  countHandle('file', -1);
  countHandle('worker', -1);
  assert.deepEqual(liveHandles(), {});
  countHandle('file', -1);
  assert.deepEqual(liveHandles(), { file: -1 });
});
