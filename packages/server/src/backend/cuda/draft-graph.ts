/** The operations of drafting, over rows that a step left behind. Knows no heads and no model. */

import type { DraftGraph, Projection, Value } from '../backend.ts';
import { requireSuccess } from './driver.ts';
import { addRows, projectRows, type RowDevice } from './row-operations.ts';
import { repeatRows, sliceRows, stackRows } from './row-set.ts';
import { elementsOf, FLOAT_BYTES, newValue, requireDense, type CudaValue } from './values.ts';

export class CudaDraftGraph implements DraftGraph {
  readonly #device: RowDevice;

  constructor(device: RowDevice) {
    this.#device = device;
  }

  linear(x: Value, projections: readonly Projection[]): Value[] {
    return projectRows(this.#device, x, projections);
  }

  add(a: Value, b: Value): Value {
    const { program } = this.#device;
    const y = newValue(program, a.width, (a as CudaValue).rowSet);
    addRows(program, a as CudaValue, b as CudaValue, y);
    return y;
  }

  silu(x: Value): Value {
    const { program } = this.#device;
    const y = newValue(program, x.width, (x as CudaValue).rowSet);
    program.launchOver(elementsOf(y), 'silu_rows', y, requireDense(x as CudaValue));
    return y;
  }

  rows(x: Value, first: number, count: number): Value {
    const value = requireDense(x as CudaValue);
    const offset = value.offset + first * value.width * FLOAT_BYTES;
    const rowSet = sliceRows(value.rowSet, first, count);
    const part: CudaValue = { rows: count, width: value.width, slab: value.slab, offset, stride: value.stride, rowSet };
    return part;
  }

  stack(values: readonly Value[]): Value {
    const parts = values as readonly CudaValue[];
    if (parts.length === 1) return parts[0]!;
    const { program } = this.#device;
    const y = newValue(program, parts[0]!.width, stackRows(parts.map(({ rowSet }) => rowSet)));
    let end = 0;
    for (const part of parts) {
      this.#copy(requireDense(part), y, end);
      end += elementsOf(part) * FLOAT_BYTES;
    }
    return y;
  }

  addToHeads(x: Value, y: Value): Value {
    const { program } = this.#device;
    const { width, rowSet } = x as CudaValue;
    const headCount = y.width / width;
    const sum = newValue(program, width, repeatRows(rowSet, headCount));
    const [dense, heads] = [requireDense(x as CudaValue), requireDense(y as CudaValue)];
    program.launchOver(elementsOf(sum), 'add_to_heads', sum, dense, heads, headCount, width);
    return sum;
  }

  #copy(from: CudaValue, to: CudaValue, toOffset: number): void {
    const { device, stream } = this.#device.program;
    const bytes = elementsOf(from) * FLOAT_BYTES;
    this.#device.program.add([from.slab, to.slab], () => {
      const source = from.slab.address + BigInt(from.offset);
      const target = to.slab.address + BigInt(toOffset);
      requireSuccess(device.driver.copyOnDevice(target, source, bytes, stream.handle), 'a copy of rows');
    });
  }
}
