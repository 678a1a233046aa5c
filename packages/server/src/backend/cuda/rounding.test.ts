import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { NULL } from '../../native/ffi.ts';
import { Places } from './adapter-table.ts';
import { ELEMENT_TYPE } from './element-types.ts';
import { makeOperand } from './products.ts';
import { Rounding } from './rounding.ts';
import { FakeDevice, type Launch } from './testing/fake-device.ts';
import { newValue, type CudaValue } from './values.ts';
import type { Dtype } from '../../weights/tensor-view.ts';

/** What a value of 3 rows of 8 that is made and asked for in 16 bits leads to. */
function launchesFor(...dtypes: Dtype[]): Launch[] {
  const fake = new FakeDevice();
  const { program } = fake.begin(new Places());
  const y = newValue(program, 8, { rows: [[], [], []] });
  const rounding = new Rounding(program, 24);
  const x: CudaValue = { ...y, rounding };
  const inputs = [y, 8, y, 8, 8] as const;
  rounding.writtenBy(program.launchOver(24, 'gated_silu', { optional: y.slab }, ...rounding.arguments, ...inputs));
  for (const dtype of dtypes)
    program.keep(makeOperand(program, x, { dtype, precision: 'high', isStreamed: false }).slab);
  program.run(fake.arena, 'a test');
  fake.dispose();
  return fake.launches;
}

describe('the 16-bit form of a value', () => {
  it('is written by the operation that makes the value', () => {
    const [made, ...others] = launchesFor('bfloat16', 'bfloat16');
    assert.deepEqual(others, []);
    assert.notEqual(made!.args[1], NULL);
    assert.deepEqual(made!.args.slice(2, 4), [ELEMENT_TYPE.bfloat16, 1]);
  });

  it('is written apart in a second type', () => {
    const [made, ...others] = launchesFor('bfloat16', 'float16');
    assert.equal(made!.args[2], ELEMENT_TYPE.bfloat16);
    assert.deepEqual(
      others.map(({ name, args }) => [name, args[1]]),
      [['round_activations', ELEMENT_TYPE.float16]],
    );
    assert.notEqual(others[0]!.args[0], made!.args[1]);
  });

  it('is not written where nobody asks for it', () => {
    assert.equal(launchesFor('float32')[0]!.args[1], NULL);
  });
});
