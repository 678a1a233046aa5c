/** The seam's operations in ggml, over the rows of one step. Knows the step's layout; knows no model. */

import type {
  AttentionShape,
  EmbeddingTable,
  Graph,
  Projection,
  Rotary,
  StepOptions,
  Value,
  Weight,
} from '../backend.ts';
import type { Pointer } from '../../native/ffi.ts';
import { attend, type AttentionInputs } from './attention.ts';
import { embedAdapters } from './adapter-embedding.ts';
import { GGML_TYPE, ROPE_NEOX } from './functions.ts';
import type { GraphContext } from './graph-context.ts';
import type { GgmlKvStore } from './kv-store.ts';
import { addRows, makeValue, projectRows, type GgmlValue } from './row-operations.ts';
import type { RotaryTables } from './rotary-tables.ts';
import type { OutputTensors } from './step-output.ts';
import { rowDepths } from '../row-depths.ts';
import type { StepLayout } from './step-layout.ts';
import { VisibleInputs } from './visible-cells.ts';
import type { GgmlWeight } from './weights.ts';

export class StepGraph implements Graph {
  readonly #context: GraphContext;
  readonly #layout: StepLayout;
  readonly #rotaryTables: RotaryTables;
  readonly #tokens: Pointer;
  readonly #positions: Pointer;
  readonly #attention: AttentionInputs;

  constructor(context: GraphContext, layout: StepLayout, kv: GgmlKvStore, rotaryTables: RotaryTables) {
    this.#context = context;
    this.#layout = layout;
    this.#rotaryTables = rotaryTables;
    const tokens = layout.segments.flatMap(({ segment }) => segment.tokens);
    const positions = layout.segments.flatMap(({ segment }) =>
      rowDepths(segment).map((depth) => segment.position + depth),
    );
    this.#tokens = context.input(GGML_TYPE.int32, tokens.length, 1, Int32Array.from(tokens));
    this.#positions = context.input(GGML_TYPE.int32, positions.length, 1, Int32Array.from(positions));
    this.#attention = { kv, layout, visible: new VisibleInputs(context), cells: writeCells(context, layout) };
  }

  embed(table: EmbeddingTable): Value {
    const { ggml } = this.#context;
    const weight = table.weight as GgmlWeight;
    const y = ggml.getRows(this.#context.claim(1), weight.tensor, this.#tokens);
    this.#context.expand(y);
    embedAdapters(this.#context, y, this.#tokens, table, this.#layout.rows);
    return makeValue(y, table.hiddenSize, this.#layout.rows);
  }

  linear(x: Value, projections: readonly Projection[]): Value[] {
    return projectRows(this.#context, x, projections);
  }

  rmsNorm(x: Value, weight: Weight, epsilon: number): Value {
    const { ggml } = this.#context;
    const { tensor, width, rowSet } = x as GgmlValue;
    const size = weight.shape[0]!;
    const context = this.#context.claim(4);
    const input = size === width ? tensor : ggml.reshape3d(context, tensor, size, width / size, rowSet.rowCount);
    const y = ggml.mul(context, ggml.rmsNorm(context, input, epsilon), (weight as GgmlWeight).tensor);
    return makeValue(size === width ? y : ggml.reshape2d(context, y, width, rowSet.rowCount), width, rowSet);
  }

  rotary(x: Value, rotary: Rotary): Value {
    const { ggml } = this.#context;
    const { tensor, width, rowSet } = x as GgmlValue;
    const { headDim, attentionFactor } = rotary;
    const context = this.#context.claim(3);
    const heads = ggml.reshape3d(context, tensor, headDim, width / headDim, rowSet.rowCount);
    const factors = this.#rotaryTables.divisors(rotary);
    // Frequency base 1 leaves each pair's angle to its divisor alone, so one call serves every scaling recipe.
    const turned = ggml.ropeExt(
      ...[context, heads, this.#positions, factors, headDim, ROPE_NEOX, 0, 1, 1, 0, attentionFactor, 0, 0],
    );
    return makeValue(ggml.reshape2d(context, turned, width, rowSet.rowCount), width, rowSet);
  }

  attention(q: Value, k: Value, v: Value, shape: AttentionShape): Value {
    const [qTensor, kTensor, vTensor] = [q, k, v].map((value) => (value as GgmlValue).tensor);
    const y = attend(this.#context, this.#attention, qTensor!, kTensor!, vTensor!, shape);
    return makeValue(y, q.width, (q as GgmlValue).rowSet);
  }

  gatedSilu(gate: Value, up: Value): Value {
    const { tensor, width, rowSet } = gate as GgmlValue;
    const y = this.#context.ggml.swigluSplit(this.#context.claim(1), tensor, (up as GgmlValue).tensor);
    return makeValue(y, width, rowSet);
  }

  add(a: Value, b: Value): Value {
    return addRows(this.#context, a, b);
  }

  outputRows(x: Value): Value {
    const { tensor, width } = x as GgmlValue;
    const { outputs, outputRows } = this.#layout;
    if (outputs.rowCount === x.rows) return makeValue(tensor, width, outputs);
    const indices = this.#context.input(GGML_TYPE.int32, outputs.rowCount, 1, outputRows);
    return makeValue(this.#context.ggml.getRows(this.#context.claim(1), tensor, indices), width, outputs);
  }

  /** Ends the graph with its results: the logits and, on request, each row's best token and hidden state. */
  finish(hidden: Value, logits: Value, { reduce, keepHidden }: StepOptions): OutputTensors {
    const { ggml } = this.#context;
    const kept = keepHidden ? (hidden as GgmlValue) : undefined;
    const { tensor, width } = logits as GgmlValue;
    const context = this.#context.claim(2);
    const best = reduce ? ggml.argmax(context, tensor) : undefined;
    const probabilities = reduce ? ggml.softMax(context, tensor) : undefined;
    for (const output of [tensor, best, probabilities, kept?.tensor]) {
      if (output === undefined) continue;
      ggml.setOutput(output);
      this.#context.expand(output);
    }
    return { logits: tensor, vocabSize: width, best, probabilities, hidden: kept?.tensor, hiddenSize: hidden.width };
  }
}

/** Cell of each row, as 64-bit indices. */
function writeCells(context: GraphContext, layout: StepLayout): Pointer {
  const cells = layout.segments.flatMap(({ segment }) =>
    segment.tokens.map((_, i) => BigInt(segment.firstCell + segment.position + i)),
  );
  return context.input(GGML_TYPE.int64, cells.length, 1, BigInt64Array.from(cells));
}
