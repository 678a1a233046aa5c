/** The seam's operations over the rows of one step, written down as a program. Knows the step's layout; knows no model. */

import type { AttentionShape, EmbeddingTable, Graph, Projection, Rotary, Value, Weight } from '../backend.ts';
import { assert } from '../../base/assert.ts';
import { ELEMENT_TYPE } from './element-types.ts';
import { perRow } from './kernels.ts';
import type { CudaKvStore } from './kv-store.ts';
import type { Slab } from './program.ts';
import { addRows, projectRows, type RowDevice } from './row-operations.ts';
import type { StepLayout } from './step-layout.ts';
import { elementsOf, newValue, type CudaValue } from './values.ts';
import { visibleCells } from './visible-cells.ts';
import type { CudaWeight } from './weights.ts';

/** Eight warps, as the kernel divides its work. */
const ATTENTION_THREADS = 256;

/** As many numbers as a warp of the kernel holds; no served family has larger heads. */
const LARGEST_HEAD = 256;

interface VisibleSlabs {
  readonly rows: Slab;
  readonly list: Slab;
}

export class StepGraph implements Graph {
  readonly #device: RowDevice;
  readonly #layout: StepLayout;
  readonly #kv: CudaKvStore;
  readonly #tokens: Slab;
  readonly #positions: Slab;
  readonly #cells: Slab;
  readonly #frequencies = new Map<Rotary, Slab>();
  /** By window. */
  readonly #visible = new Map<number | undefined, VisibleSlabs>();

  constructor(device: RowDevice, layout: StepLayout, kv: CudaKvStore) {
    this.#device = device;
    this.#layout = layout;
    this.#kv = kv;
    this.#tokens = device.program.input(layout.tokens);
    this.#positions = device.program.input(layout.positions);
    this.#cells = device.program.input(layout.cells);
  }

  embed(table: EmbeddingTable): Value {
    const { program, adapters } = this.#device;
    const { address, dtype } = table.weight as CudaWeight;
    const width = table.hiddenSize;
    const y = newValue(program, width, this.#layout.rows);
    program.launch('embed_rows', perRow(y.rows, width), y, address, ELEMENT_TYPE[dtype], this.#tokens, width);
    adapters.embed(this.#tokens, y, table);
    return y;
  }

  linear(x: Value, projections: readonly Projection[]): Value[] {
    return projectRows(this.#device, x, projections);
  }

  rmsNorm(x: Value, weight: Weight, epsilon: number): Value {
    const { program } = this.#device;
    const { width, rowSet } = x as CudaValue;
    const size = weight.shape[0]!;
    const y = newValue(program, width, rowSet);
    const grid = perRow(elementsOf(y) / size, size);
    program.launch('rms_norm', grid, y, x as CudaValue, (weight as CudaWeight).address, size, epsilon);
    return y;
  }

  rotary(x: Value, rotary: Rotary): Value {
    const { program } = this.#device;
    const { width, rowSet } = x as CudaValue;
    const frequencies = this.#frequencies.get(rotary) ?? program.input(rotary.inverseFrequencies);
    this.#frequencies.set(rotary, frequencies);
    const y = newValue(program, width, rowSet);
    const inputs = [y, x as CudaValue, frequencies, this.#positions] as const;
    program.launch('rotate_rows', perRow(y.rows, width / 2), ...inputs, rotary.headDim, width, rotary.attentionFactor);
    return y;
  }

  attention(q: Value, k: Value, v: Value, shape: AttentionShape): Value {
    const { program } = this.#device;
    const { headCount, kvHeadCount, headDim, scale, layer, window } = shape;
    assert(headDim <= LARGEST_HEAD, `heads of ${headDim} fit the attention kernel`);
    const { keys, values } = this.#kv;
    const store = [keys.layer(layer), keys.elementType, values.layer(layer), values.elementType] as const;
    program.launch(
      ...(['write_cells', perRow(k.rows, k.width), ...store] as const),
      ...([k as CudaValue, v as CudaValue, this.#cells, k.width] as const),
    );
    const y = newValue(program, q.width, (q as CudaValue).rowSet);
    const visible = this.#visibleTo(window);
    program.launch(
      ...(['attend_cells', { blocks: [q.rows, headCount], threads: ATTENTION_THREADS }] as const),
      ...([y, q as CudaValue, ...store, visible.rows, visible.list] as const),
      ...[headCount, kvHeadCount, headDim, scale],
    );
    return y;
  }

  gatedSilu(gate: Value, up: Value): Value {
    const { program } = this.#device;
    const { width, rowSet } = gate as CudaValue;
    const y = newValue(program, width, rowSet);
    program.launchOver(elementsOf(y), 'gated_silu', y, gate as CudaValue, up as CudaValue);
    return y;
  }

  add(a: Value, b: Value): Value {
    return addRows(this.#device, a, b);
  }

  outputRows(x: Value): Value {
    const { program } = this.#device;
    const { outputs, outputRows } = this.#layout;
    if (outputRows.length === x.rows) return x;
    const y = newValue(program, x.width, outputs);
    const count = elementsOf(y);
    program.launchOver(count, 'gather_rows', y, x as CudaValue, program.input(outputRows), x.width);
    return y;
  }

  #visibleTo(window: number | undefined): VisibleSlabs {
    const known = this.#visible.get(window);
    if (known !== undefined) return known;
    const { rows, list } = visibleCells(this.#layout.segments, window);
    const slabs = { rows: this.#device.program.input(rows), list: this.#device.program.input(list) };
    this.#visible.set(window, slabs);
    return slabs;
  }
}
