import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { LaunchConfiguration } from './launch-configuration.ts';

describe('a launch configuration', () => {
  it('has blocks, threads, the stream and whether kernels overlap where C looks for them', () => {
    const configuration = new LaunchConfiguration(true);
    const { buffer } = configuration.describe(7n, { blocks: [3, 2], threads: 64, sharedBytes: 512 });
    const view = new DataView(buffer);
    const counts = Array.from({ length: 7 }, (_, i) => view.getUint32(4 * i, true));
    assert.deepEqual(counts, [3, 2, 1, 64, 1, 1, 512]);
    assert.deepEqual([view.getBigUint64(32, true), view.getUint32(48, true)], [7n, 1]);
    assert.equal(new DataView(new LaunchConfiguration(false).bytes.buffer).getUint32(48, true), 0);
  });
});
