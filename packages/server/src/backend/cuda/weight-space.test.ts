import assert from 'node:assert/strict';
import { afterEach, describe, it } from 'node:test';
import { LoraxError } from '../../base/errors.ts';
import { liveHandles } from '../../base/handles.ts';
import { FakeDevice } from './testing/fake-device.ts';
import { WeightSpace } from './weight-space.ts';

const MIB = 2 ** 20;

/** The call of that name in what follows, while a weight is taken. */
function callOf(name: string): number {
  const fake = new FakeDevice();
  const space = new WeightSpace(fake.device);
  space.take(1, 'a weight');
  const call = fake.cuda.calls.indexOf(name);
  space.dispose();
  fake.dispose();
  return call;
}

afterEach(() => assert.deepEqual(liveHandles(), {}));

describe('the space of weights', () => {
  it('lays them one after the other, and takes memory as it fills', () => {
    const fake = new FakeDevice();
    const space = new WeightSpace(fake.device);
    assert.equal(fake.countCalls('cuMemCreate'), 0);
    const sizes = [20 * MIB, 1000, 70 * MIB, 512];
    const addresses = sizes.map((size) => space.take(size, 'a weight'));
    const places = addresses.map((address) => Number(address - addresses[0]!));
    assert.deepEqual(places, [0, 20 * MIB, 20 * MIB + 1024, 90 * MIB + 1024]);
    assert.equal(fake.countCalls('cuMemCreate'), 3);
    space.dispose();
    fake.dispose();
    assert.deepEqual(fake.cuda.open, {});
  });

  for (const name of ['cuMemCreate', 'cuMemMap', 'cuMemSetAccess']) {
    it(`gives out no memory that it cannot have (${name})`, () => {
      const fake = new FakeDevice({ call: callOf(name), cause: 'memory' });
      const space = new WeightSpace(fake.device);
      assert.throws(
        () => space.take(1, 'a weight'),
        (error) => error instanceof LoraxError && error.code === 'OUT_OF_MEMORY' && /a weight/.test(error.message),
      );
      space.take(1, 'a weight');
      assert.equal(fake.countCalls('cuMemSetAccess'), name === 'cuMemSetAccess' ? 2 : 1);
      space.dispose();
      fake.dispose();
      assert.deepEqual(fake.cuda.open, {});
    });
  }
});
