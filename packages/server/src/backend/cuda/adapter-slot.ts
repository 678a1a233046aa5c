/** One resident adapter on a device: its table of what it does at the places of the model. Holds, never computes. */

import type { Pointer } from '../../native/ffi.ts';
import type { AdapterSlot } from '../adapters.ts';

export interface CudaAdapterSlot extends AdapterSlot {
  /** Entries by place, as adapter-table.ts lays them out. */
  readonly table: Pointer;
  readonly entryCount: number;
  /** Of the ranks at linear places, the largest. */
  readonly largestRank: number;
  /** Paths of the places where it does anything. */
  readonly paths: ReadonlySet<string>;
  /** Of those, where it brings a whole weight. */
  readonly replacedPaths: ReadonlySet<string>;
  dispose(): void;
}
