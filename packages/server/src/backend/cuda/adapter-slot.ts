/** One resident adapter on a device: its table of what it does at the places of the model. Holds, never computes. */

import type { Pointer } from '../../native/ffi.ts';
import type { Dtype } from '../../weights/tensor-view.ts';
import type { AdapterSlot } from '../adapters.ts';
import type { CudaWeight } from './weights.ts';

/** Where adapters enter: equal ones are one object, so that they are told apart by their number. */
export interface Reach {
  readonly number: number;
  /** Paths of the places where the adapter does anything. */
  readonly paths: ReadonlySet<string>;
  /** Of those, where it brings a whole weight. */
  readonly replacedPaths: ReadonlySet<string>;
  /** Where it does more than add `scale * B A x`: it brings a weight, DoRA's factors or a bias. */
  readonly specialPaths: ReadonlySet<string>;
}

export interface CudaAdapterSlot extends AdapterSlot {
  readonly weights: ReadonlyMap<string, CudaWeight>;
  /** Entries by place, as adapter-table.ts lays them out. */
  readonly table: Pointer;
  readonly entryCount: number;
  /** Of the ranks at linear places, the largest. */
  readonly largestRank: number;
  /** The type of all factors at linear places; undefined where they have several. */
  readonly factorDtype: Dtype | undefined;
  readonly reach: Reach;
  dispose(): void;
}
