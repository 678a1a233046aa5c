import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { chooseDevices, type DeviceProperties } from './device.ts';

function card(index: number, major: number): DeviceProperties {
  return { index, name: `card ${index}`, major, minor: 0, multiprocessorCount: 1, totalBytes: 1 };
}

/** One that is too old among four. */
const CARDS = [card(0, 8), card(1, 7), card(2, 9), card(3, 9)];

const indices = (index: number | undefined, count: number): number[] =>
  chooseDevices(CARDS, index, count).map((device) => device.index);

describe('the choice of cards', () => {
  it('takes the first that can be used, or those from a number on', () => {
    assert.deepEqual(indices(undefined, 1), [0]);
    assert.deepEqual(indices(undefined, 3), [0, 2, 3]);
    assert.deepEqual(indices(2, 1), [2]);
    assert.deepEqual(indices(2, 2), [2, 3]);
  });

  it('says why there are too few', () => {
    const refusals = [
      [[undefined, 4], /compute capability 8.0 is needed; card 1 has 7.0/],
      [[1, 1], /card 1 has 7.0/],
      [[3, 2], /2 CUDA devices are wanted from number 3 on, found are 1/],
      [[9, 1], /no CUDA device 9/],
    ] as const;
    for (const [[index, count], message] of refusals) {
      assert.throws(() => chooseDevices(CARDS, index, count), { code: 'ENGINE_LIBRARY', message });
    }
    assert.throws(() => chooseDevices([], undefined, 1), /no CUDA device/);
    assert.throws(() => chooseDevices([], undefined, 2), /2 CUDA devices are wanted, found are 0/);
  });
});
