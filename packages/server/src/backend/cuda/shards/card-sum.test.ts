import assert from 'node:assert/strict';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { NULL } from '../../../native/ffi.ts';
import { Places } from '../adapter-table.ts';
import type { Program } from '../program.ts';
import { FakeDevice } from '../testing/fake-device.ts';
import { newValue, type CudaValue } from '../values.ts';
import { CardSum } from './card-sum.ts';
import type { SumMeeting } from './collectives.ts';

const WIDTH = 4096;
const WEIGHTS = 512n;

let fake: FakeDevice;
let program: Program;

beforeEach(() => {
  fake = new FakeDevice();
  ({ program } = fake.begin(new Places()));
});

afterEach(() => fake.dispose());

function makeValue(rowCount: number, width = WIDTH): CudaValue {
  return newValue(program, width, { rows: Array.from({ length: rowCount }, () => []) });
}

/** Values that are there: an operation made them. */
function makeResidual(rowCount: number, width?: number): CudaValue {
  const residual = makeValue(rowCount, width);
  program.launchOver(rowCount, 'silu_rows', residual, residual);
  return residual;
}

/** What the shard brings to the one meeting of the program. */
function bring(): SumMeeting {
  program.prepare(fake.arena, 'a test');
  return program.give().next().value as SumMeeting;
}

describe('a sum over the cards', () => {
  it('comes with nothing where nobody asks', () => {
    const value = makeValue(3);
    new CardSum(program, value);
    assert.deepEqual(bring(), { kind: 'sum', address: value.slab.address, count: 3 * WIDTH, finish: undefined });
  });

  it('comes with a residual and what the next product takes', () => {
    const [residual, value, y] = [makeResidual(3), makeValue(3), makeValue(3)];
    const sum = new CardSum(program, value);
    sum.add(residual, y.slab);
    const operand = sum.scale(WEIGHTS, 1e-5)!;
    assert.deepEqual([operand.dtype, operand.factors!.parts, operand.factors!.epsilon], ['bfloat16', 2, 1e-5]);
    const { finish } = bring();
    const addresses = { scaled: operand.slab.address, squares: operand.factors!.squares.address };
    // Nobody reads the sum itself.
    const expected = { width: WIDTH, residual: residual.slab.address, y: NULL, weights: WEIGHTS, ...addresses };
    assert.deepEqual(finish, expected);
  });

  it('leaves to others what its kernel cannot add', () => {
    for (const [rowCount, width] of [
      [65, WIDTH],
      [3, 2048],
    ] as const) {
      const residual = makeResidual(rowCount, width);
      assert.ok(!new CardSum(program, makeValue(rowCount, width)).takes(residual));
    }
    const sum = new CardSum(program, makeValue(3));
    assert.ok(!sum.takes(makeResidual(3)), 'was made after it');
    assert.equal(sum.scale(WEIGHTS, 1e-5), undefined);
  });
});
