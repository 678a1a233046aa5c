import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Random } from '../../../testing/random.ts';
import { ownFloats } from '../../../weights/owned-tensor.ts';
import type { TensorView } from '../../../weights/tensor-view.ts';
import { readFloats } from '../../../weights/values.ts';
import type { AdapterTensors, LowRankTensors } from '../../adapters.ts';
import type { EmbeddingTable, Projection, Split, Weight } from '../../backend.ts';
import type { CudaWeight } from '../weights.ts';
import { localAdapter } from './local-adapter.ts';
import { LocalPlaces } from './local-places.ts';
import { joinParts } from './sharded-weight.ts';

const [RANK, IN, OUT, COUNT] = [3, 12, 10, 2];

/** As it would be resident, with nothing in it. */
function emptyWeight(name: string, shape: readonly number[]): Weight {
  const part: CudaWeight = { name, shape, address: 0n, dtype: 'float32', byteLength: 0, dispose: () => undefined };
  return joinParts({ name, shape }, Array(COUNT).fill(part));
}

function projectionWith(split: Split | undefined): Projection {
  const weight = emptyWeight('w', [OUT, IN]);
  return {
    kind: 'linear',
    path: 'p',
    weight,
    bias: undefined,
    inFeatures: IN,
    outFeatures: OUT,
    ...(split && { split }),
  };
}

const random = new Random(1);
const tensor = (name: string, ...shape: number[]): TensorView =>
  ownFloats(
    name,
    shape,
    random.normals(
      shape.reduce((product, length) => product * length, 1),
      0,
      1,
    ),
  );

const VIEWS = {
  a: tensor('a', RANK, IN),
  b: tensor('b', OUT, RANK),
  magnitude: tensor('m', OUT),
  bias: tensor('bias', OUT),
  weight: tensor('w', OUT, IN),
};

function adapterAt(at: Projection | EmbeddingTable): AdapterTensors {
  const { a, b, magnitude, bias, weight } = VIEWS;
  const lowRank: LowRankTensors = { at, rank: RANK, scale: 2, a, b, magnitude, bias };
  return { lowRank: [lowRank], replacements: [{ at, weight, bias }], weights: [] };
}

function localParts(tensors: AdapterTensors): AdapterTensors[] {
  return Array.from({ length: COUNT }, (_, index) => localAdapter(tensors, new LocalPlaces({ index, count: COUNT })));
}

const shapesOf = (views: readonly (TensorView | undefined)[]): unknown[] => views.map((view) => view?.shape);

function viewsOf({ lowRank: [factors], replacements: [replacement] }: AdapterTensors): (TensorView | undefined)[] {
  return [factors!.a, factors!.b, factors!.magnitude, factors!.bias, replacement!.weight, replacement!.bias];
}

describe('an adapter on one of two shards', () => {
  it('has its rows of B and of what is by output, where outputs are divided', () => {
    for (const split of ['outputs', 'gathered'] as const) {
      const parts = localParts(adapterAt(projectionWith(split)));
      for (const part of parts) {
        assert.deepEqual(shapesOf(viewsOf(part)), [[RANK, IN], [5, RANK], [5], [5], [5, IN], [5]]);
        assert.equal((part.lowRank[0]!.at as Projection).outFeatures, 5);
      }
      const rows = parts.flatMap(({ lowRank }) => [...readFloats(lowRank[0]!.b)]);
      assert.deepEqual(rows, [...readFloats(VIEWS.b)]);
    }
  });

  it('has its columns of A and of whole weights, and adds biases once, where inputs are divided', () => {
    const parts = localParts(adapterAt(projectionWith('inputs')));
    const [first, second] = parts.map((part) => shapesOf(viewsOf(part)));
    assert.deepEqual(first, [[RANK, 6], [OUT, RANK], [OUT], [OUT], [OUT, 6], [OUT]]);
    assert.deepEqual(second, [[RANK, 6], [OUT, RANK], [OUT], undefined, [OUT, 6], undefined]);
    const whole = readFloats(VIEWS.weight);
    for (const [shard, { replacements }] of parts.entries()) {
      const columns = readFloats(replacements[0]!.weight!);
      for (const [i, value] of columns.entries()) {
        assert.equal(value, whole[Math.floor(i / 6) * IN + shard * 6 + (i % 6)]);
      }
    }
  });

  it('is whole where nothing is divided, and at the token table', () => {
    const table: EmbeddingTable = {
      ...{ kind: 'embedding', path: 'e', vocabSize: IN, hiddenSize: OUT },
      weight: emptyWeight('w', [IN, OUT]),
    };
    for (const at of [projectionWith(undefined), table]) {
      for (const part of localParts(adapterAt(at)))
        assert.deepEqual(viewsOf(part), Object.values(VIEWS).toSpliced(5, 0, VIEWS.bias));
    }
  });

  it('has its rows of the matrices of its own, and all of their vectors', () => {
    const weights = [tensor('medusa.weight', 8, 4), tensor('medusa.bias', 8)];
    for (const part of localParts({ lowRank: [], replacements: [], weights })) {
      assert.deepEqual(shapesOf(part.weights), [[4, 4], [8]]);
    }
  });
});
