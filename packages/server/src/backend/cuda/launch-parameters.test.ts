import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { addressOf } from '../../native/ffi.ts';
import { LaunchParameters } from './launch-parameters.ts';

describe('launch parameters', () => {
  it('lie where their list says, each as C has it', () => {
    const parameters = new LaunchParameters();
    const map = Uint8Array.from({ length: 128 }, (_, i) => i);
    parameters.pack('pimfi', [1n, 2, map, 0.5, -4]);
    const start = addressOf(parameters.bytes);
    const [address, integer, array, float, negative] = [...parameters.places].map((place) => {
      return new DataView(parameters.bytes, Number(place - start));
    }) as [DataView, DataView, DataView, DataView, DataView];
    assert.equal(address.getBigUint64(0, true), 1n);
    assert.deepEqual(
      [integer, negative].map((view) => view.getInt32(0, true)),
      [2, -4],
    );
    assert.equal(float.getFloat32(0, true), 0.5);
    assert.deepEqual(new Uint8Array(array.buffer, array.byteOffset, map.length), map);
  });

  it('are as many and of the kinds that the kernel takes', () => {
    const parameters = new LaunchParameters();
    assert.throws(() => parameters.pack('pi', [1n]), /2 arguments, not 1/);
    assert.throws(() => parameters.pack('p', [1]), /argument 0 is no number/);
    assert.throws(() => parameters.pack('i', [1n]), /argument 0 is no address/);
    assert.throws(() => parameters.pack('p', [new Uint8Array(128)]), /argument 0 is no map/);
  });
});
