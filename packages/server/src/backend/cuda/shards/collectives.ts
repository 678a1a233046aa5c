/** What shards compute together: the seam between programs and the way in which cards reach each other. */

import type { Pointer } from '../../../native/ffi.ts';
import type { CudaDevice } from '../device.ts';
import type { SumPlaces } from '../residual-sum.ts';
import type { Stream } from '../stream.ts';

/** What a shard computes on, alone. */
export interface MeetingCard {
  readonly device: CudaDevice;
  readonly stream: Stream;
}

/** Every shard's float32 numbers are replaced by their sums over all shards. */
export interface SumMeeting {
  readonly kind: 'sum';
  readonly address: Pointer;
  readonly count: number;
  /** Only where the collectives finish sums. */
  readonly finish?: SumFinish | undefined;
}

/** What is made of sums `[rows, width]` on their way; squares are of `FINISHED_TOGETHER` neighbours each. */
export interface SumFinish extends SumPlaces {
  /** A multiple of that. */
  readonly width: number;
}

/** Neighbours of which there is a sum of squares: as many as a block of kernels/exchange.cu has at once. */
export const FINISHED_TOGETHER = 2048;

/** Every shard's columns are put together on all of them. */
export interface GatherMeeting {
  readonly kind: 'gather';
  readonly rows: number;
  /** Of each shard's part: the same on all shards. */
  readonly widths: readonly number[];
  /** The shard's own part, `[rows, its width]` float32. */
  readonly part: Pointer;
  /** `[rows, all widths]`. */
  readonly whole: Pointer;
  /** As large, for whoever needs the parts to arrive one after the other. */
  readonly aside: Pointer;
}

/** What one shard brings. */
export type Meeting = SumMeeting | GatherMeeting;

export interface Collectives {
  /** Whether sums may come with what is to be made of them. */
  readonly finishesSums: boolean;
  /** Gives all streams their share of the work: what each shard brings to the same meeting, in the order of the shards. */
  hold(meetings: readonly Meeting[]): void;
}

/** By shard: where its columns begin. */
export function firstColumns({ widths }: Pick<GatherMeeting, 'widths'>): number[] {
  let end = 0;
  return widths.map((width) => (end += width) - width);
}
