import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Random } from '../../../testing/random.ts';
import { ownFloats } from '../../../weights/owned-tensor.ts';
import type { Projection, RowGraph, Split, Value } from '../../backend.ts';
import { Arena } from '../arena.ts';
import { Program } from '../program.ts';
import { Stream } from '../stream.ts';
import { floatsAt, HostDevice } from '../testing/host-device.ts';
import { Uploader } from '../uploader.ts';
import { elementsOf, newValue, type CudaValue } from '../values.ts';
import { uploadWeight, type CudaWeight, type TakeMemory } from '../weights.ts';
import { JointProgram } from './joint-program.ts';
import { LocalPlaces } from './local-places.ts';
import { loadMatrix } from './local-weight.ts';
import { partOf } from './shard-place.ts';
import { linearTogether } from './sharded-rows.ts';
import { joinParts } from './sharded-weight.ts';
import { SharedCardCollectives } from './shared-card.ts';

const ROWS = 3;

/** Products as a card would compute them, with the base model's biases. */
class HostRows implements Pick<RowGraph, 'linear'> {
  readonly #program: Program;

  constructor(program: Program) {
    this.#program = program;
  }

  linear(value: Value, projections: readonly Projection[]): Value[] {
    const x = value as CudaValue;
    return projections.map(({ weight, bias, inFeatures, outFeatures }) => {
      const y = newValue(this.#program, outFeatures, x.rowSet);
      this.#program.add([x.slab, y.slab], () => {
        const inputs = floatsAt(x.slab.address, elementsOf(x));
        const matrix = floatsAt((weight as CudaWeight).address, inFeatures * outFeatures);
        const biases = bias && floatsAt((bias as CudaWeight).address, outFeatures);
        floatsAt(y.slab.address, elementsOf(y)).set(product(inputs, matrix, inFeatures, biases));
      });
      return y;
    });
  }
}

function product(x: Float32Array, matrix: Float32Array, inner: number, bias?: Float32Array): Float32Array {
  const outer = matrix.length / inner;
  return Float32Array.from({ length: (x.length / inner) * outer }, (_, i) => {
    const [row, out] = [Math.floor(i / outer), i % outer];
    let sum = bias?.[out] ?? 0;
    for (let k = 0; k < inner; k++) sum += x[row * inner + k]! * matrix[out * inner + k]!;
    return sum;
  });
}

/** `x W^T + b` of the projection in so many shards: what each of them has in the end, row by row. */
async function multiply(
  count: number,
  split: Split | undefined,
  { x, matrix, bias, inFeatures, outFeatures }: Case,
): Promise<Float32Array[]> {
  const { device } = new HostDevice();
  const load = { device, uploader: new Uploader(device) };
  const stream = new Stream(device.driver);
  const take: TakeMemory = (byteLength, what) => device.allocate(byteLength, what);
  const places = Array.from({ length: count }, (_, index) => new LocalPlaces({ index, count }));
  const view = ownFloats('w', [outFeatures, inFeatures], matrix);
  const options = { dtype: 'float32', split } as const;
  const weights = await Promise.all(places.map(({ shard }) => loadMatrix(load, take, view, options, shard)));
  const biases = await Promise.all(
    places.map(() => uploadWeight(take, load.uploader, ownFloats('b', [outFeatures], bias), 'float32')),
  );
  const projection: Projection = {
    ...{ kind: 'linear', path: 'p', inFeatures, outFeatures, ...(split && { split }) },
    weight: joinParts(view, weights),
    bias: joinParts({ name: 'b', shape: [outFeatures] }, biases),
  };
  const written = places.map(({ shard }, i) => {
    const program = new Program(device, stream);
    const columns = split === 'inputs' ? partOf(inFeatures, shard) : { start: 0, length: inFeatures };
    const local = columnsOf(x, inFeatures, columns);
    const slab = program.input(local.byteLength, () => local);
    const input = { ...newValue(program, columns.length, { rows: Array(ROWS).fill([]) }), slab };
    const graph = new HostRows(program) as unknown as RowGraph;
    const rows = { graph, program, places: places[i]!, finishesSums: false };
    const [y] = linearTogether(rows, input, [projection]);
    program.keep((y as CudaValue).slab);
    return { program, y: y as CudaValue };
  });
  const joint = new JointProgram(
    written.map(({ program }) => program),
    new SharedCardCollectives(device, stream),
  );
  joint.run(
    written.map(() => new Arena(device)),
    'products',
  );
  stream.dispose();
  load.uploader.dispose();
  return written.map(({ y }) => floatsAt(y.slab.address + BigInt(y.offset), elementsOf(y)).slice());
}

interface Case {
  readonly x: Float32Array;
  readonly matrix: Float32Array;
  readonly bias: Float32Array;
  readonly inFeatures: number;
  readonly outFeatures: number;
}

function randomCase(inFeatures: number, outFeatures: number): Case {
  const random = new Random(inFeatures * outFeatures);
  const [x, matrix, bias] = [ROWS * inFeatures, outFeatures * inFeatures, outFeatures].map((length) =>
    random.normals(length, 0, 1),
  ) as [Float32Array, Float32Array, Float32Array];
  return { x, matrix, bias, inFeatures, outFeatures };
}

function columnsOf(
  values: Float32Array,
  width: number,
  { start, length }: { start: number; length: number },
): Float32Array {
  return Float32Array.from({ length: (values.length / width) * length }, (_, i) => {
    return values[Math.floor(i / length) * width + start + (i % length)]!;
  });
}

function assertClose(actual: Float32Array, expected: Float32Array): void {
  assert.equal(actual.length, expected.length);
  for (const [i, value] of actual.entries()) assert.ok(Math.abs(value - expected[i]!) < 1e-4, `${i}: ${value}`);
}

describe('a product in shards', () => {
  for (const count of [1, 2, 3, 8]) {
    for (const [inFeatures, outFeatures] of [
      [16, 24],
      [9, 13],
      [64, 37],
    ] as const) {
      const shape = `[${outFeatures}, ${inFeatures}] in ${count}`;
      const given = randomCase(inFeatures, outFeatures);
      const whole = product(given.x, given.matrix, inFeatures, given.bias);

      it(`is whole on each, of ${shape}, where inputs are divided or outputs gathered`, async () => {
        for (const split of ['inputs', 'gathered', undefined] as const) {
          for (const result of await multiply(count, split, given)) assertClose(result, whole);
        }
      });

      it(`is a part on each, of ${shape}, where outputs are divided`, async () => {
        const results = await multiply(count, 'outputs', given);
        for (const [index, result] of results.entries()) {
          assertClose(result, columnsOf(whole, outFeatures, partOf(outFeatures, { index, count })));
        }
      });
    }
  }
});
