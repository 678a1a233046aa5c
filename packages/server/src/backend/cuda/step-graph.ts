/**
 * The seam's operations over the rows of one step, written down as a program; neighbours that one kernel does at once become one.
 * Knows no model, and of the step only what all steps of its shape share.
 */

import { assert, present } from '../../base/assert.ts';
import { NULL } from '../../native/ffi.ts';
import type { AttentionShape, EmbeddingTable, Graph, Projection, Rotary, Value, Weight } from '../backend.ts';
import { attend } from './attention.ts';
import { ELEMENT_TYPE } from './element-types.ts';
import { perHead, perNorm, perRow } from './grids.ts';
import { DeferredNorm } from './deferred-norm.ts';
import type { CudaKvStore } from './kv-store.ts';
import type { LateArgument } from './program.ts';
import { gateable, summandOf } from './products.ts';
import { Rounding } from './rounding.ts';
import { addRows, projectRows, type RowDevice } from './row-operations.ts';
import type { Summand } from './summand.ts';
import type { StepInputs } from './step-inputs.ts';
import { elementsOf, newValue, requireDense, type CudaValue } from './values.ts';
import type { CudaWeight } from './weights.ts';

interface Sum {
  readonly a: CudaValue;
  readonly b: CudaValue;
}

interface Rotation {
  readonly x: CudaValue;
  readonly rotary: Rotary;
}

export class StepGraph implements Graph {
  readonly #device: RowDevice;
  readonly #kv: CudaKvStore;
  readonly #inputs: StepInputs;
  /** Sums that are not computed yet: the norm of a sum is, with it. */
  readonly #sums = new Map<Value, Sum>();
  /** Rotations are computed on the way to attention. */
  readonly #rotations = new Map<Value, Rotation>();

  constructor(device: RowDevice, inputs: StepInputs, kv: CudaKvStore) {
    this.#device = device;
    this.#inputs = inputs;
    this.#kv = kv;
  }

  embed(table: EmbeddingTable): Value {
    const { program, adapters } = this.#device;
    const { address, dtype } = table.weight as CudaWeight;
    const { rows, tokens } = this.#inputs;
    const width = table.hiddenSize;
    const y = newValue(program, width, rows);
    program.launch('embed_rows', perRow(y.rows, width), y, address, ELEMENT_TYPE[dtype], tokens, width);
    adapters.embed(tokens, y, table);
    return y;
  }

  linear(x: Value, projections: readonly Projection[]): Value[] {
    return projectRows(this.#device, this.#computed(x), projections);
  }

  rmsNorm(x: Value, weight: Weight, epsilon: number): Value {
    const { program } = this.#device;
    const { width, rowSet } = x as CudaValue;
    const y = newValue(program, width, rowSet);
    const rounding = new Rounding(program, elementsOf(y));
    const size = weight.shape[0]!;
    const { address } = weight as CudaWeight;
    const parts = width / size;
    const summand = this.#addOnTheWay(x as CudaValue);
    const operation = program.launchWhere(
      () => summand === undefined || y.slab.isNeeded || rounding.isAsked,
      ...(['norm_rows', perNorm(y.rows * parts, size), { optional: y.slab }, ...rounding.arguments] as const),
      ...this.#normInput(x as CudaValue),
      ...([address, size, parts, epsilon] as const),
    );
    rounding.writtenBy(operation);
    const norm = summand && parts === 1 ? new DeferredNorm(summand, address, epsilon) : undefined;
    return withRounding({ ...y, norm }, rounding);
  }

  rotary(x: Value, rotary: Rotary): Value {
    const y = newValue(this.#device.program, x.width, (x as CudaValue).rowSet);
    this.#rotations.set(y, { x: this.#computed(x), rotary });
    return y;
  }

  attention(q: Value, k: Value, v: Value, shape: AttentionShape): Value {
    this.#store(q, k, v as CudaValue, shape);
    return attend(this.#device, this.#inputs, this.#kv, q as CudaValue, shape);
  }

  gatedSilu(gate: Value, up: Value): Value {
    const { program } = this.#device;
    const [a, b] = [this.#computed(gate), this.#computed(up)];
    const y = newValue(program, a.width, a.rowSet);
    const product = gateable(a, b);
    if (product) return withRounding(y, product.gate(y.slab));
    const rounding = new Rounding(program, elementsOf(y));
    const inputs = [a, a.stride, b, b.stride, a.width] as const;
    const outputs = [{ optional: y.slab }, ...rounding.arguments] as const;
    rounding.writtenBy(program.launchOver(elementsOf(y), 'gated_silu', ...outputs, ...inputs));
    return withRounding(y, rounding);
  }

  add(a: Value, b: Value): Value {
    const sum = { a: this.#computed(a), b: this.#computed(b) };
    const y = newValue(this.#device.program, a.width, sum.a.rowSet);
    this.#sums.set(y, sum);
    return y;
  }

  outputRows(x: Value): Value {
    if (this.#inputs.isWholeOutput) return x;
    const { program } = this.#device;
    const y = newValue(program, x.width, this.#inputs.outputs);
    const from = requireDense(this.#computed(x));
    program.launchOver(elementsOf(y), 'gather_rows', y, from, this.#inputs.outputRows(), x.width);
    return y;
  }

  /** A value whose memory holds it by now. */
  #computed(value: Value): CudaValue {
    assert(!this.#rotations.has(value), 'what is rotated goes to attention');
    this.#addOnTheWay(value as CudaValue);
    const sum = this.#sums.get(value);
    if (sum !== undefined) addRows(this.#device.program, sum.a, sum.b, value as CudaValue);
    this.#sums.delete(value);
    return value as CudaValue;
  }

  /** A sum that what makes one of both can make: computed from then on. Returns what makes it. */
  #addOnTheWay(y: CudaValue): Summand | undefined {
    const { a, b } = this.#sums.get(y) ?? {};
    if (a === undefined || b === undefined) return undefined;
    for (const [value, residual] of [
      [b, a],
      [a, b],
    ] as const) {
      const summand = summandOf(value, residual);
      if (summand === undefined) continue;
      summand.add(residual, y.slab);
      this.#sums.delete(y);
      return summand;
    }
    return undefined;
  }

  /** Where the sum goes, and the two that are added; or nowhere, and one alone. */
  #normInput(x: CudaValue): LateArgument[] {
    const sum = this.#sums.get(x);
    if (sum === undefined) return [NULL, x, x.stride, NULL, 0];
    this.#sums.delete(x);
    return [{ optional: x.slab }, sum.a, sum.a.stride, sum.b, sum.b.stride];
  }

  /** Keys and values to the step's cells, queries and keys rotated. */
  #store(q: Value, k: Value, v: CudaValue, { headCount, kvHeadCount, headDim, layer }: AttentionShape): void {
    const { program } = this.#device;
    const queries = present(this.#rotations.get(q), 'a rotation of the queries');
    const keys = present(this.#rotations.get(k), 'a rotation of the keys');
    assert(queries.rotary === keys.rotary, 'queries and keys turn alike');
    const { positions, cells } = this.#inputs;
    const { rotary } = queries;
    const store = this.#kv;
    program.launch(
      ...(['rotate_and_store', perHead(q.rows, headCount + 2 * kvHeadCount, headDim / 2)] as const),
      ...([q as CudaValue, queries.x, queries.x.stride, keys.x, keys.x.stride, v, v.stride] as const),
      ...([store.keys.layer(layer), store.keys.elementType, store.values.layer(layer)] as const),
      ...([store.values.elementType, cells, positions, this.#inputs.frequencies(rotary)] as const),
      ...[headCount, kvHeadCount, headDim, rotary.attentionFactor],
    );
  }
}

function withRounding(y: CudaValue, rounding: Rounding): CudaValue {
  return { ...y, rounding };
}
