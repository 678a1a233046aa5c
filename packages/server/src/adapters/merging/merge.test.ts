/** Whole adapters merged: what the result is, what is refused with which words, and that others may run meanwhile. */

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { MERGE_STRATEGIES, type MergeRecipe, type MergeStrategy } from '../../base/adapter-reference.ts';
import { LoraxError } from '../../base/errors.ts';
import { uniformAt } from '../../base/philox.ts';
import type { AdapterTensors, LowRankTensors } from '../../backend/adapters.ts';
import type { Projection } from '../../backend/backend.ts';
import { ownFloats } from '../../weights/owned-tensor.ts';
import { readFloats } from '../../weights/values.ts';
import { factorMethod, needsDensity } from './factor-method.ts';
import { mergeAdapters } from './merge.ts';
import { checkMergeable, type MergeMember } from './mergeable.ts';

const IN = 10;
const OUT = 7;

function projection(path: string): Projection {
  const weight = { name: `${path}.weight`, shape: [OUT, IN] };
  return { kind: 'linear', path, weight, bias: undefined, inFeatures: IN, outFeatures: OUT };
}

const Q = projection('model.layers.0.self_attn.q_proj');
const V = projection('model.layers.0.self_attn.v_proj');

function tensor(name: string, shape: readonly [number, number] | readonly [number], seed: bigint) {
  const length = shape.reduce((product, size) => product * size, 1);
  return ownFloats(
    name,
    shape,
    Float32Array.from({ length }, (_, i) => uniformAt(seed, i) * 2 - 1),
  );
}

let made = 0n;

function lowRank(at: Projection, rank: number, scale: number, own: Partial<LowRankTensors> = {}): LowRankTensors {
  const [a, b] = [tensor(`${at.path}.lora_A`, [rank, IN], made++), tensor(`${at.path}.lora_B`, [OUT, rank], made++)];
  return { at, rank, scale, a, b, magnitude: undefined, bias: undefined, ...own };
}

function member(id: string, weight: number, ...parts: LowRankTensors[]): MergeMember {
  return { id, weight, tensors: { lowRank: parts, replacements: [], weights: [] } };
}

function recipe(strategy: MergeStrategy, density = 0.5): MergeRecipe {
  return { strategy, density: needsDensity(strategy) ? density : undefined, majoritySign: 'total' };
}

const NEVER = new AbortController().signal;

/** `scale * B A` at a place, `[out, in]`. */
function delta({ lowRank: parts }: AdapterTensors, at: Projection): number[] {
  const part = parts.find((candidate) => candidate.at === at)!;
  const [a, b] = [readFloats(part.a), readFloats(part.b)];
  return Array.from({ length: OUT * IN }, (_, i) => {
    const [row, column] = [Math.floor(i / IN), i % IN];
    let sum = 0;
    for (let k = 0; k < part.rank; k++) sum += b[row * part.rank + k]! * a[k * IN + column]!;
    return part.scale * sum;
  });
}

function assertClose(actual: readonly number[], expected: readonly number[]): void {
  for (const [i, value] of expected.entries()) assert.ok(Math.abs(actual[i]! - value) < 1e-5, `at ${i}`);
}

const MERGED = MERGE_STRATEGIES.filter((strategy) => strategy !== 'cat');

describe('the result', () => {
  for (const strategy of MERGED) {
    test(`of ${strategy} is one member where there is one, of weight 1 and with everything kept`, async () => {
      const only = member('only', 1, lowRank(Q, 4, 1.75), lowRank(V, 4, 0.5));
      const merged = await mergeAdapters([only], recipe(strategy, 1), 1n, NEVER);
      for (const at of [Q, V]) assertClose(delta(merged, at), delta(only.tensors, at));
      assert.deepEqual(merged.replacements, []);
    });

    test(`of ${strategy} is the same in any order of the members, value by value`, async () => {
      const members = [0.7, -0.4, 1.3].map((weight, i) => member(`m${i}`, weight, lowRank(Q, 4, 1 + i)));
      const values = async (order: readonly MergeMember[]) => {
        const { lowRank: parts } = await mergeAdapters(order, recipe(strategy), 5n, NEVER);
        return parts.map(({ a, b }) => [readFloats(a), readFloats(b)]);
      };
      assert.deepEqual(await values(members), await values(members.toReversed()));
    });
  }

  test('has the places of all members; who lacks one is left out there', async () => {
    const both = member('both', 1, lowRank(Q, 4, 2), lowRank(V, 4, 2));
    const one = member('one', 1, lowRank(V, 4, 3));
    const merged = await mergeAdapters([one, both], recipe('linear'), 1n, NEVER);
    assert.deepEqual(new Set(merged.lowRank.map(({ at }) => at)), new Set([Q, V]));
    assertClose(delta(merged, Q), delta(both.tensors, Q));
  });

  test('of linear has every scale in it: (sum of w s B) (sum of w A)', async () => {
    const members = [member('a', 0.7, lowRank(Q, 4, 2)), member('b', -0.5, lowRank(Q, 4, 0.25))];
    const cross = members.flatMap(({ tensors: left, weight: w }) =>
      members.map(({ tensors: right, weight }) => {
        const [from, to] = [left.lowRank[0]!, right.lowRank[0]!];
        return delta(
          { lowRank: [{ ...from, a: to.a, scale: w * weight * from.scale }], replacements: [], weights: [] },
          Q,
        );
      }),
    );
    const expected = cross[0]!.map((_, i) => cross.reduce((sum, values) => sum + values[i]!, 0));
    assertClose(delta(await mergeAdapters(members, recipe('linear'), 1n, NEVER), Q), expected);
  });

  test('of a negative weight is the negated delta, for the strategies that take roots', async () => {
    const only = member('only', -0.5, lowRank(Q, 4, 2));
    const expected = delta(only.tensors, Q).map((value) => -0.5 * value);
    assertClose(delta(await mergeAdapters([only], recipe('peft_linear'), 1n, NEVER), Q), expected);
    assertClose(delta(await mergeAdapters([only], recipe('svd'), 1n, NEVER), Q), expected);
  });

  test('of svd has the largest rank of any member, and loses nothing where that is enough', async () => {
    const members = [member('a', 2, lowRank(Q, 2, 1), lowRank(V, 5, 1)), member('b', 3, lowRank(Q, 3, 0.5))];
    const merged = await mergeAdapters(members, recipe('svd'), 1n, NEVER);
    const [first, second] = members.map(({ tensors }) => delta(tensors, Q));
    assertClose(
      delta(merged, Q),
      first!.map((value, i) => 2 * value + 3 * second![i]!),
    );
    assert.deepEqual(
      merged.lowRank.map(({ rank }) => rank),
      [5, 5],
    );
  });

  test('of dare follows the seed', async () => {
    const members = [member('a', 1, lowRank(Q, 4, 1)), member('b', 1, lowRank(Q, 4, 1))];
    const values = async (seed: bigint) => delta(await mergeAdapters(members, recipe('dare_linear'), seed, NEVER), Q);
    assert.deepEqual(await values(3n), await values(3n));
    assert.notDeepEqual(await values(3n), await values(4n));
  });
});

const REFUSED = { code: 'VALIDATION' };

function reason(members: readonly MergeMember[], strategy: MergeStrategy): string {
  try {
    checkMergeable(members, recipe(strategy));
  } catch (error) {
    assert.ok(error instanceof LoraxError);
    assert.equal(error.code, REFUSED.code);
    return error.message;
  }
  return '';
}

describe('what does not fit', () => {
  const plain = member('plain', 1, lowRank(Q, 4, 1));

  for (const strategy of MERGE_STRATEGIES) {
    test(`${strategy} takes equal ranks`, () => assert.equal(reason([plain, plain], strategy), ''));

    test(`${strategy} and different ranks`, () => {
      const wide = member('wide', 1, lowRank(Q, 8, 1));
      const expected =
        `\`merged_adapters\` need equal ranks for \`${strategy}\`, but at ${Q.path} ` +
        '`plain` has 4, `wide` has 8; `cat` merges any ranks';
      assert.equal(reason([plain, wide], strategy), factorMethod(strategy) ? expected : '');
    });

    test(`${strategy} and a DoRA adapter`, () => {
      const magnitude = tensor(`${Q.path}.lora_magnitude_vector`, [OUT], 1n);
      assert.equal(
        reason([plain, member('dora', 1, lowRank(Q, 4, 1, { magnitude }))], strategy),
        `\`merged_adapters\` cannot merge \`dora\`: it is a DoRA adapter (${magnitude.name}), whose effect is no sum`,
      );
    });

    test(`${strategy} and an adapter with a tensor of the base model`, () => {
      const weight = tensor('lm_head.weight', [OUT, IN], 1n);
      const saved = { lowRank: [], replacements: [{ at: Q, weight, bias: undefined }], weights: [] };
      assert.equal(
        reason([plain, { id: 'saved', weight: 1, tensors: saved }], strategy),
        '`merged_adapters` cannot merge `saved`: its lm_head.weight replaces a tensor of the base model',
      );
    });

    test(`${strategy} and a LoRA bias`, () => {
      const bias = tensor(`${Q.path}.lora_B.bias`, [OUT], 1n);
      const expected = `\`merged_adapters\` cannot merge \`biased\` by \`${strategy}\`: it has a LoRA bias (${bias.name}); \`cat\` can`;
      assert.equal(
        reason([plain, member('biased', 1, lowRank(Q, 4, 1, { bias }))], strategy),
        strategy === 'cat' ? '' : expected,
      );
    });
  }
});

test('values that are not finite are refused, in a member and in the result', async () => {
  const broken = lowRank(Q, 4, 1);
  const nan = ownFloats('its.lora_A', [4, IN], readFloats(broken.a).fill(NaN, 3, 4));
  const members = [member('ok', 1, lowRank(Q, 4, 1)), member('broken', 1, { ...broken, a: nan })];
  for (const strategy of MERGED) {
    await assert.rejects(mergeAdapters(members, recipe(strategy), 1n, NEVER), {
      code: 'ADAPTER_INVALID',
      message: 'adapter `broken` cannot be used: its.lora_A holds values that are not finite numbers',
    });
  }
  const large = [member('a', 1000, lowRank(Q, 4, 1e37)), member('b', 1000, lowRank(Q, 4, 1e37))];
  await assert.rejects(mergeAdapters(large, recipe('linear'), 1n, NEVER), {
    code: 'VALIDATION',
    message: `\`merged_adapters\` gives values that are not finite numbers at ${Q.path}.lora_B; use smaller weights`,
  });
});

describe('a merge under way', () => {
  const members = [member('a', 1, lowRank(Q, 4, 1), lowRank(V, 4, 1)), member('b', 1, lowRank(V, 4, 1))];

  test('lets others run between the places', async () => {
    let turns = 0;
    const turn = (): void => {
      turns++;
      timer = setImmediate(turn);
    };
    let timer = setImmediate(turn);
    await mergeAdapters(members, recipe('ties'), 1n, NEVER);
    clearImmediate(timer);
    assert.ok(turns >= 2);
  });

  test('ends with the reason of its signal, before and during', async () => {
    const gone = new Error('the caller is gone');
    await assert.rejects(mergeAdapters(members, recipe('ties'), 1n, AbortSignal.abort(gone)), gone);
    const controller = new AbortController();
    const merging = mergeAdapters(members, recipe('ties'), 1n, controller.signal);
    controller.abort(gone);
    await assert.rejects(merging, gone);
  });
});
