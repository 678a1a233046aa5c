import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { Projection } from '../backend.ts';
import type { MatmulPrecision } from '../precision.ts';
import { Places } from './adapter-table.ts';
import type { Architecture } from './architecture.ts';
import { groupProjections } from './products.ts';
import { projectRows } from './row-operations.ts';
import { FakeDevice } from './testing/fake-device.ts';
import { fakeProjection, fakeWeight } from './testing/small-decoder.ts';
import { newValue, type CudaValue } from './values.ts';

const IN = 64;

interface Given {
  readonly ys: readonly CudaValue[];
  readonly kernels: readonly string[];
  /** Rows and outputs of cuBLAS's products. */
  readonly products: readonly (readonly number[])[];
}

const AMPERE = { major: 8, minor: 0 };

function project(
  rowCount: number,
  precision: MatmulPrecision,
  projections: readonly Projection[],
  on?: Architecture,
): Given {
  const fake = new FakeDevice(undefined, on);
  const device = fake.begin(new Places(), precision);
  const { program } = device;
  const x = newValue(program, projections[0]!.inFeatures, { rows: Array.from({ length: rowCount }, () => []) });
  const ys = projectRows(device, x, projections) as CudaValue[];
  for (const { slab } of ys) program.keep(slab);
  program.run(fake.arena, 'a test');
  fake.dispose();
  const kernels = fake.launches.map(({ name }) => name);
  return { ys, kernels, products: fake.products.map(({ rows, outFeatures }) => [rows, outFeatures]) };
}

describe('products', () => {
  it('are one for matrices of a type that lie one after the other', () => {
    const [q, k] = [fakeProjection('q', IN, 128), fakeProjection('k', IN, 32)];
    const v = fakeProjection('v', IN, 32, 'float16');
    fakeWeight([1]);
    const o = fakeProjection('o', IN, 32, 'float16');
    assert.deepEqual(groupProjections([q, k, v, o]), [[q, k], [v], [o]]);
    assert.deepEqual(groupProjections([k, q]), [[k], [q]]);
    const { ys, products } = project(5, 'medium', [q, k], AMPERE);
    assert.deepEqual(products, [[5, 160]]);
    assert.deepEqual(
      ys.map(({ slab, offset, stride, width }) => [slab === ys[0]!.slab, offset, stride, width]),
      [
        [true, 0, 160, 128],
        [true, 512, 160, 32],
      ],
    );
  });

  it('of few rows have a kernel of their own', () => {
    const one = [fakeProjection('q', IN, 128)];
    const few = { kernels: ['round_activations', 'multiply_few_bfloat16'], products: [] };
    for (const [rowCount, precision] of [
      [1, 'medium'],
      [2, 'medium'],
      [1, 'high'],
    ] as const) {
      const { kernels, products } = project(rowCount, precision, one, AMPERE);
      assert.deepEqual({ kernels, products }, few);
    }
    assert.deepEqual(project(3, 'medium', one, AMPERE).products, [[3, 128]]);
    assert.deepEqual(project(1, 'medium', [fakeProjection('q', 60, 128)], AMPERE).products, [[1, 128]]);
  });

  it("stream through Hopper's shared memory, up to 64 rows of them", () => {
    const one = [fakeProjection('q', IN, 128)];
    const kernels = (rowCount: number, precision: MatmulPrecision): unknown =>
      project(rowCount, precision, one).kernels.slice(1);
    assert.deepEqual(kernels(1, 'medium'), ['stream_8']);
    assert.deepEqual(kernels(9, 'medium'), ['stream_32']);
    assert.deepEqual(kernels(32, 'high'), ['stream_64', 'join_halves']);
    // Nothing is made of halves on their way.
    assert.deepEqual(kernels(1, 'high'), ['multiply_few_bfloat16']);
    assert.deepEqual(project(64, 'medium', one).products, []);
    assert.deepEqual(project(65, 'medium', one).products, [[65, 128]]);
    for (const [inFeatures, outFeatures] of [
      [60, 128],
      [IN, 124],
    ] as const) {
      const { products } = project(3, 'medium', [fakeProjection('q', inFeatures, outFeatures)]);
      assert.deepEqual(products, [[3, outFeatures]]);
    }
  });

  it('at high precision are of both halves of each activation', () => {
    const { kernels, products } = project(3, 'high', [fakeProjection('q', IN, 128)], AMPERE);
    assert.deepEqual([kernels, products], [['round_activations', 'join_halves'], [[6, 128]]]);
  });

  it('with float32 matrices take activations as they are', () => {
    const { kernels, products } = project(1, 'high', [fakeProjection('q', IN, 128, 'float32')]);
    assert.deepEqual([kernels, products], [[], [[1, 128]]]);
  });

  it('round activations once for all matrices of a type', () => {
    const [q, k] = [fakeProjection('q', IN, 128), fakeProjection('k', IN, 32)];
    assert.deepEqual(project(3, 'medium', [k, q], AMPERE).kernels, ['round_activations']);
  });
});
