/** Keys and values on a device, layer after layer of cells. Holds them; knows nothing about who owns which cell. */

import type { Pointer } from '../../native/ffi.ts';
import { DTYPE_BYTES } from '../../weights/tensor-view.ts';
import type { CellMove, KvDtype, KvShape, KvStore } from '../kv.ts';
import type { DeviceMemory } from './device-memory.ts';
import type { CudaDevice } from './device.ts';
import { ELEMENT_TYPE } from './element-types.ts';
import { perRow } from './grids.ts';
import { Arena } from './arena.ts';
import { Program } from './program.ts';
import type { Stream } from './stream.ts';

/** Rows that only fill a step up keep their keys and values in a cell that no sequence owns. */
const SPARE_CELLS = 1;

/** Keys or values of all layers. */
export class LayeredCells {
  readonly memory: DeviceMemory;
  readonly elementType: number;
  readonly cellBytes: number;
  readonly layerBytes: number;

  constructor(device: CudaDevice, { layerCount, cellCount, width }: KvShape, dtype: KvDtype) {
    this.elementType = ELEMENT_TYPE[dtype];
    this.cellBytes = width * DTYPE_BYTES[dtype];
    this.layerBytes = (cellCount + SPARE_CELLS) * this.cellBytes;
    this.memory = device.allocate(layerCount * this.layerBytes, 'the KV cache');
  }

  layer(index: number): Pointer {
    return this.memory.address + BigInt(index * this.layerBytes);
  }
}

export class CudaKvStore implements KvStore {
  readonly shape: KvShape;
  readonly byteLength: number;
  readonly keys: LayeredCells;
  readonly values: LayeredCells;
  readonly #device: CudaDevice;
  readonly #stream: Stream;
  readonly #arena: Arena;

  /** Cells move on the stream that steps run on. */
  constructor(device: CudaDevice, stream: Stream, shape: KvShape) {
    this.shape = shape;
    this.#device = device;
    this.#stream = stream;
    this.#arena = new Arena(device);
    this.keys = new LayeredCells(device, shape, shape.types.key);
    try {
      this.values = new LayeredCells(device, shape, shape.types.value);
    } catch (error) {
      this.keys.memory.dispose();
      throw error;
    }
    this.byteLength = this.keys.memory.byteLength + this.values.memory.byteLength;
  }

  get spareCell(): number {
    return this.shape.cellCount;
  }

  moveCells(moves: readonly CellMove[]): void {
    if (moves.length === 0) return;
    const program = new Program(this.#device, this.#stream);
    const pairs = Int32Array.from(moves.flatMap(({ from, to }) => [from, to]));
    const list = program.input(pairs.byteLength, () => pairs);
    for (const { memory, layerBytes, cellBytes } of [this.keys, this.values]) {
      const grid = perRow(this.shape.layerCount, cellBytes);
      program.launch('move_cells', grid, memory.address, BigInt(layerBytes), cellBytes, list, moves.length);
    }
    program.run(this.#arena, 'moving cells');
  }

  dispose(): void {
    this.#arena.dispose();
    this.keys.memory.dispose();
    this.values.memory.dispose();
  }
}
