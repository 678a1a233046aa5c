/** What an adapter does at the places of the model, as kernels read it: `struct Entry` of kernels/adapters.cuh. */

import { NULL, type Pointer } from '../../native/ffi.ts';
import type { Dtype } from '../../weights/tensor-view.ts';
import type { Reach } from './adapter-slot.ts';
import { ELEMENT_TYPE } from './element-types.ts';

/** Numbers in device memory. */
export interface DeviceTensor {
  readonly address: Pointer;
  readonly dtype: Dtype;
}

export interface AdapterEntry {
  /** 0 where there are no factors. */
  readonly rank: number;
  /** Factor on the product of both. */
  readonly scale: number;
  readonly a: DeviceTensor | undefined;
  readonly b: DeviceTensor | undefined;
  /** Float32 `[out]`: DoRA's factor, and what is added. */
  readonly outputScale: Pointer | undefined;
  readonly outputBias: Pointer | undefined;
  readonly replacement: DeviceTensor | undefined;
}

export const NO_ENTRY: AdapterEntry = {
  rank: 0,
  scale: 0,
  a: undefined,
  b: undefined,
  outputScale: undefined,
  outputBias: undefined,
  replacement: undefined,
};

export const ENTRY_BYTES = 64;

/** Entries by place; those that are not in the map do nothing. */
export function packTable(entries: ReadonlyMap<number, AdapterEntry>, count: number): Uint8Array {
  const table = new Uint8Array(count * ENTRY_BYTES);
  for (const [place, entry] of entries) packEntry(new DataView(table.buffer, place * ENTRY_BYTES, ENTRY_BYTES), entry);
  return table;
}

function packEntry(view: DataView, { rank, scale, a, b, outputScale, outputBias, replacement }: AdapterEntry): void {
  const addresses = [a?.address, b?.address, outputScale, outputBias, replacement?.address];
  for (const [i, address] of addresses.entries()) view.setBigUint64(i * 8, address ?? NULL, true);
  const types = [a, b, replacement].map((tensor) => ELEMENT_TYPE[tensor?.dtype ?? 'float32']);
  for (const [i, value] of [rank, ...types].entries()) view.setInt32(40 + i * 4, value, true);
  view.setFloat32(56, scale, true);
}

/** Numbers for the places where adapters enter, and for sets of them: an adapter's table is as long as the highest of its own. */
export class Places {
  readonly #numbers = new Map<string, number>();
  readonly #reaches = new Map<string, Reach>();

  get count(): number {
    return this.#numbers.size;
  }

  /** Undefined where no adapter was ever loaded for the path. */
  find(path: string): number | undefined {
    return this.#numbers.get(path);
  }

  claim(path: string): number {
    const place = this.#numbers.get(path) ?? this.#numbers.size;
    this.#numbers.set(path, place);
    return place;
  }

  /** One object for all adapters that enter at the same places in the same ways. */
  reach(paths: readonly string[], replacedPaths: readonly string[], specialPaths: readonly string[]): Reach {
    const numbersOf = (list: readonly string[]): string =>
      list
        .map((path) => this.claim(path))
        .toSorted((a, b) => a - b)
        .join();
    const key = [paths, replacedPaths, specialPaths].map(numbersOf).join('/');
    const sets = {
      ...{ paths: new Set(paths), replacedPaths: new Set(replacedPaths) },
      ...{ specialPaths: new Set(specialPaths) },
    };
    const reach = this.#reaches.get(key) ?? { number: this.#reaches.size, ...sets };
    this.#reaches.set(key, reach);
    return reach;
  }
}
