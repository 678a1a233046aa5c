/** Gives a stream the copy of one shard's part, `[rows, width]` float32, to its columns of the whole. */

import type { Pointer } from '../../../native/ffi.ts';
import type { CudaDevice } from '../device.ts';
import { ELEMENT_TYPE } from '../element-types.ts';
import { perElement } from '../grids.ts';
import type { Stream } from '../stream.ts';
import { FLOAT_BYTES } from '../values.ts';
import { firstColumns, type GatherMeeting } from './collectives.ts';

export function placeColumns(
  { kernels }: Pick<CudaDevice, 'kernels'>,
  stream: Stream,
  meeting: GatherMeeting,
  shard: number,
  part: Pointer,
): void {
  const { rows, widths, whole } = meeting;
  const width = widths[shard]!;
  const stride = widths.reduce((sum, each) => sum + each, 0);
  const to = whole + BigInt(firstColumns(meeting)[shard]! * FLOAT_BYTES);
  const count = rows * width;
  const sizes = [width, ELEMENT_TYPE.float32, width, count] as const;
  kernels.launch(stream.handle, 'place_columns', perElement(count), to, stride, part, ...sizes);
}
