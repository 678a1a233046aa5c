/** The operations of drafting in ggml, over rows that a step left behind. Knows no heads and no model. */

import type { DraftGraph, Projection, Value } from '../backend.ts';
import type { Pointer } from '../../native/ffi.ts';
import type { GraphContext } from './graph-context.ts';
import { addRows, makeValue, projectRows, type GgmlValue } from './row-operations.ts';
import { repeatRows, sliceRows, stackRows } from './row-set.ts';

const FLOAT_BYTES = 4;

export class GgmlDraftGraph implements DraftGraph {
  readonly #context: GraphContext;

  constructor(context: GraphContext) {
    this.#context = context;
  }

  linear(x: Value, projections: readonly Projection[]): Value[] {
    return projectRows(this.#context, x, projections);
  }

  add(a: Value, b: Value): Value {
    return addRows(this.#context, a, b);
  }

  silu(x: Value): Value {
    const { tensor, width, rowSet } = x as GgmlValue;
    return makeValue(this.#context.ggml.silu(this.#context.claim(1), tensor), width, rowSet);
  }

  rows(x: Value, first: number, count: number): Value {
    if (first === 0 && count === x.rows) return x;
    const { tensor, width, rowSet } = x as GgmlValue;
    const rowBytes = width * FLOAT_BYTES;
    const view = this.#context.ggml.view2d(this.#context.claim(1), tensor, width, count, rowBytes, first * rowBytes);
    return makeValue(view, width, sliceRows(rowSet, first, count));
  }

  stack(values: readonly Value[]): Value {
    const parts = values as readonly GgmlValue[];
    const tensor = parts
      .map((part) => part.tensor)
      .reduce((above, below): Pointer => this.#context.ggml.concat(this.#context.claim(1), above, below, 1));
    return makeValue(tensor, parts[0]!.width, stackRows(parts.map(({ rowSet }) => rowSet)));
  }

  addToHeads(x: Value, y: Value): Value {
    const { ggml } = this.#context;
    const { tensor, width, rowSet } = x as GgmlValue;
    const headCount = y.width / width;
    const context = this.#context.claim(4);
    const heads = ggml.reshape3d(context, (y as GgmlValue).tensor, width, headCount, rowSet.rowCount);
    const once = ggml.reshape3d(context, tensor, width, 1, rowSet.rowCount);
    const sum = ggml.add(context, heads, once);
    const flat = ggml.reshape2d(context, sum, width, headCount * rowSet.rowCount);
    return makeValue(flat, width, repeatRows(rowSet, headCount));
  }
}
