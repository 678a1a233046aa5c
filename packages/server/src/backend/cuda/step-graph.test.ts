import assert from 'node:assert/strict';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { NULL } from '../../native/ffi.ts';
import type { Dtype } from '../../weights/tensor-view.ts';
import type { Graph, Value } from '../backend.ts';
import type { MatmulPrecision } from '../precision.ts';
import type { WeightedSlot } from '../step.ts';
import { places, slotOf } from './adapter-rows.arbitrary.ts';
import type { Argument } from './launch-parameters.ts';
import type { Program } from './program.ts';
import { StepGraph } from './step-graph.ts';
import { FakeDevice } from './testing/fake-device.ts';
import { fakeProjection, fakeWeight } from './testing/small-decoder.ts';
import { newValue, type CudaValue } from './values.ts';

const HIDDEN = 128;
const INNER = 256;
const EPSILON = 1e-5;

let fake: FakeDevice;

beforeEach(() => {
  fake = new FakeDevice();
});

afterEach(() => fake.dispose());

interface LayerOptions {
  readonly alsoReads?: (gate: Value, program: Program) => void;
  /** Of the second row. */
  readonly adapters?: readonly WeightedSlot[];
}

/** What follows attention in a layer of 3 rows, and the next one's queries; which kernels it takes. */
function kernelsOfLayer(
  dtype: Dtype,
  precision: MatmulPrecision,
  { alsoReads, adapters = [] }: LayerOptions = {},
): string[] {
  const device = fake.begin(places, precision);
  const { program } = device;
  const graph: Graph = new StepGraph(device, undefined as never, undefined as never);
  const rowSet = { rows: [[], adapters, []] };
  const [seen, before] = [newValue(program, HIDDEN, rowSet), newValue(program, HIDDEN, rowSet)];
  program.launchOver(HIDDEN, 'silu_rows', before, seen);
  const weight = fakeWeight([HIDDEN], 'float32');
  const linear = (x: Value, widths: Readonly<Record<string, number>>): Value[] => {
    return graph.linear(
      x,
      Object.entries(widths).map(([path, width]) => fakeProjection(path, x.width, width, dtype)),
    );
  };
  const middle = graph.add(before, linear(seen, { o: HIDDEN })[0]!);
  const [gate, up] = linear(graph.rmsNorm(middle, weight, EPSILON), { gate: INNER, up: INNER });
  const after = graph.add(middle, linear(graph.gatedSilu(gate!, up!), { down: HIDDEN })[0]!);
  const [queries] = linear(graph.rmsNorm(after, weight, EPSILON), { q: HIDDEN });
  alsoReads?.(gate!, program);
  program.keep((queries as CudaValue).slab);
  program.run(fake.arena, 'a test');
  return fake.launches.slice(1).map(({ name }) => name);
}

/** Arguments of kernels for pairs of blocks, by number. */
const PAIR = {
  y: 3,
  rounded: 4,
  inputSquares: 10,
  inputParts: 11,
  epsilon: 12,
  addend: 13,
  addendColumns: 14,
  residual: 15,
  weights: 16,
  squares: 17,
};
/** And of the others. */
const SHRINK = { x: 1, xType: 2 };
const EXPAND = { isEmpty: 5, y0: 6, out0: 9, out1: 13 };
const ALONE = { y: 3, rounded: 4, isGated: 8, inputSquares: 11, addend: 14 };

describe('a layer in bfloat16 on Hopper', () => {
  it('is products alone: they add, norm and gate on the way', () => {
    const pair = 'stream_in_pairs_8';
    assert.deepEqual(kernelsOfLayer('bfloat16', 'medium'), ['round_activations', pair, 'stream_8', pair, pair]);
    const [output, gates, down, queries] = fake.launches.slice(2).map(({ args }) => args);
    assert.deepEqual([output![PAIR.inputSquares], output![PAIR.inputParts]], [NULL, 0]);
    assert.notEqual(output![PAIR.residual], NULL);
    assert.notEqual(output![PAIR.weights], NULL);
    assert.equal(gates![ALONE.inputSquares], output![PAIR.squares]);
    assert.deepEqual([gates![ALONE.isGated], gates![ALONE.y]], [1, NULL]);
    assert.notEqual(gates![ALONE.rounded], NULL);
    // The residual is the sum that the first of them made.
    assert.equal(down![PAIR.residual], output![PAIR.y]);
    assert.equal(queries![PAIR.inputSquares], down![PAIR.squares]);
    assert.deepEqual([queries![PAIR.inputParts], queries![PAIR.epsilon]], [4, EPSILON]);
  });

  it('keeps numbers of a product that others read beside what is made of them', () => {
    const alsoReads: LayerOptions['alsoReads'] = (gate, program) => program.keep((gate as CudaValue).slab);
    const kernels = kernelsOfLayer('bfloat16', 'medium', { alsoReads });
    assert.deepEqual(kernels.slice(2, 4), ['stream_8', 'stream_8']);
    const [plain, gated] = fake.launches.slice(3, 5).map(({ args }) => args);
    assert.deepEqual([plain![ALONE.isGated], gated![ALONE.isGated]], [0, 1]);
    assert.notEqual(plain![ALONE.y], NULL);
  });
});

describe('a layer with adapters in bfloat16 on Hopper', () => {
  const PAIR_KERNEL = 'stream_in_pairs_8';

  it('has what they add before each product, which adds it on the way', () => {
    const slot = slotOf({ table: 1n, rank: 16, reach: places.reach(['o', 'up', 'q'], [], []) });
    const kernels = kernelsOfLayer('bfloat16', 'medium', { adapters: [{ slot, weight: 1 }] });
    const [before, adds] = ['round_activations', ['shrink_rows_1', 'expand_rows_1']];
    assert.deepEqual(kernels, [
      ...[before, ...adds, PAIR_KERNEL, ...adds, 'stream_8', PAIR_KERNEL],
      ...[...adds, PAIR_KERNEL],
    ]);
    const argumentsOf = (kernel: string): readonly Argument[][] =>
      fake.launches.filter(({ name }) => name === kernel).map(({ args }) => [...args]);
    const [output, down, queries] = argumentsOf(PAIR_KERNEL);
    const [gates] = argumentsOf('stream_8');
    const [forOutput, forGates, forQueries] = argumentsOf('expand_rows_1');
    assert.equal(output![PAIR.addend], forOutput![EXPAND.y0]);
    assert.equal(gates![ALONE.addend], forGates![EXPAND.y0]);
    assert.equal(queries![PAIR.addend], forQueries![EXPAND.y0]);
    assert.deepEqual([down![PAIR.addend], down![PAIR.addendColumns]], [NULL, NULL]);
    // Also the gates, to which no adapter adds anything, are named: there is nothing else in that memory.
    assert.deepEqual([forGates![EXPAND.isEmpty], forGates![EXPAND.out0], forGates![EXPAND.out1]], [1, INNER, INNER]);
    // They are multiplied with what the product takes.
    const [, gateInput] = argumentsOf('shrink_rows_1');
    assert.deepEqual([gateInput![SHRINK.x], gateInput![SHRINK.xType]], [output![PAIR.rounded], 2]);
  });

  it('has what is more than an addition after each product, as well as the rest of it', () => {
    const slot = slotOf({ table: 1n, rank: 16, reach: places.reach(['gate'], [], ['gate']) });
    const kernels = kernelsOfLayer('bfloat16', 'medium', { adapters: [{ slot, weight: 1 }] });
    const gates = ['norm_rows', 'shrink_rows_1', 'stream_8', 'expand_rows_1', 'gated_silu'];
    assert.deepEqual(kernels, ['round_activations', PAIR_KERNEL, ...gates, PAIR_KERNEL, PAIR_KERNEL]);
  });
});

describe('a layer on Hopper', () => {
  it('in float16 has its norms apart: before they are divided, numbers may be too large', () => {
    const pair = 'stream_in_pairs_8';
    const kernels = ['round_activations', pair, 'norm_rows', 'stream_8', pair, 'norm_rows', pair];
    assert.deepEqual(kernelsOfLayer('float16', 'medium'), kernels);
  });

  it('at high precision has norms, sums and gates apart', () => {
    const kernels = kernelsOfLayer('bfloat16', 'high');
    assert.equal(kernels.filter((name) => name === 'norm_rows').length, 2);
    assert.equal(kernels.filter((name) => name === 'join_halves').length, 4);
    assert.ok(kernels.includes('gated_silu'));
  });
});
