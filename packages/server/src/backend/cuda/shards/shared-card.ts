/** Meetings of shards that share one card and its stream, where the order of the work is all the waiting there is. */

import { present } from '../../../base/assert.ts';
import type { Pointer } from '../../../native/ffi.ts';
import type { CudaDevice } from '../device.ts';
import { requireSuccess } from '../driver.ts';
import { perElement } from '../grids.ts';
import type { Stream } from '../stream.ts';
import { FLOAT_BYTES } from '../values.ts';
import { placeColumns } from './place-columns.ts';
import type { Collectives, GatherMeeting, Meeting, SumMeeting } from './collectives.ts';

export class SharedCardCollectives implements Collectives {
  readonly finishesSums = false;
  readonly #device: CudaDevice;
  readonly #stream: Stream;

  constructor(device: CudaDevice, stream: Stream) {
    this.#device = device;
    this.#stream = stream;
  }

  hold(meetings: readonly Meeting[]): void {
    const sums = meetings.filter((meeting) => meeting.kind === 'sum');
    if (sums.length > 0) this.#sum(sums);
    const gathers = meetings.filter((meeting) => meeting.kind === 'gather');
    if (gathers.length > 0) this.#gather(gathers);
  }

  /** In the first shard's memory, and from there to the others. */
  #sum([first, ...others]: readonly SumMeeting[]): void {
    const { address: sum, count } = present(first, 'a shard');
    for (const { address } of others) {
      this.#device.kernels.launch(this.#stream.handle, 'add_rows', perElement(count), sum, sum, address, count);
    }
    for (const { address } of others) this.#copy(address, sum, count);
  }

  #gather(gathers: readonly GatherMeeting[]): void {
    for (const target of gathers) {
      for (const [from, { part }] of gathers.entries()) placeColumns(this.#device, this.#stream, target, from, part);
    }
  }

  #copy(to: Pointer, from: Pointer, count: number): void {
    const { driver } = this.#device;
    requireSuccess(driver.copyOnDevice(to, from, count * FLOAT_BYTES, this.#stream.handle), 'what shards share');
  }
}
