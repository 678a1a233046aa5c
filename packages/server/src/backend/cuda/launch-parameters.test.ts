import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { LaunchParameters } from './launch-parameters.ts';

describe('launch parameters', () => {
  it('lie at multiples of their own size, as C lays them out', () => {
    const parameters = new LaunchParameters();
    assert.equal(parameters.pack('pipfi', [1n, 2, 3n, 0.5, -4]), 32);
    const view = new DataView(parameters.bytes);
    const read = [view.getBigUint64(0, true), view.getInt32(8, true), view.getBigUint64(16, true)];
    assert.deepEqual(read, [1n, 2, 3n]);
    assert.deepEqual([view.getFloat32(24, true), view.getInt32(28, true)], [0.5, -4]);
  });

  it('are as many and of the kinds that the kernel takes', () => {
    const parameters = new LaunchParameters();
    assert.throws(() => parameters.pack('pi', [1n]), /2 arguments, not 1/);
    assert.throws(() => parameters.pack('p', [1]), /argument 0 is an address/);
    assert.throws(() => parameters.pack('i', [1n]), /argument 0 is no address/);
  });
});
