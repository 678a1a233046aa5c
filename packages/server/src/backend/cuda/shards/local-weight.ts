/** The base model's matrices on their way to one shard: only its part goes up. Knows nothing about models. */

import type { Dtype, TensorView } from '../../../weights/tensor-view.ts';
import { sliceTensor, type Span } from '../../../weights/tensor-slice.ts';
import type { Split, WeightOptions } from '../../backend.ts';
import { mergeWeight, type LoadDevice } from '../adapted-rows.ts';
import { ELEMENT_TYPE } from '../element-types.ts';
import { perElement } from '../grids.ts';
import { emptyWeight, uploadWeight, type CudaWeight, type TakeMemory } from '../weights.ts';
import { partOf, type ShardPlace } from './shard-place.ts';

interface MatrixOptions extends WeightOptions {
  readonly dtype: Dtype;
}

/** `take` gives the memory that the matrix is to stay in. */
export async function loadMatrix(
  load: LoadDevice,
  take: TakeMemory,
  view: TensorView,
  { dtype, merged, split }: MatrixOptions,
  shard: ShardPlace,
): Promise<CudaWeight> {
  const cut = cutOf(view.shape, split, shard);
  if (merged === undefined) {
    return uploadWeight(take, load.uploader, cut ? sliceTensor(view, cut.dimension, cut.span) : view, dtype);
  }
  if (cut === undefined) return mergeWeight(load, take, view, merged, dtype);
  const part = emptyWeight(take, { name: view.name, shape: view.shape.with(cut.dimension, cut.span.length) }, dtype);
  // Whole rows first: they may have to be brought to a length.
  const aside: TakeMemory = (byteLength, what) => load.device.allocate(byteLength, what);
  const whole = await mergeWeight(load, aside, view, merged, dtype);
  try {
    copyPart(load, whole, part, cut);
    await load.uploader.stream.finish(`dividing ${view.name}`);
    return part;
  } finally {
    whole.dispose();
  }
}

interface Cut {
  readonly dimension: 0 | 1;
  readonly span: Span;
}

/** Undefined where the shard has all of it. */
function cutOf(shape: readonly number[], split: Split | undefined, shard: ShardPlace): Cut | undefined {
  if (split === undefined || shard.count === 1) return undefined;
  const dimension = split === 'inputs' ? 1 : 0;
  return { dimension, span: partOf(shape[dimension]!, shard) };
}

function copyPart(
  { device, uploader }: LoadDevice,
  whole: CudaWeight,
  part: CudaWeight,
  { dimension, span }: Cut,
): void {
  const { address } = sliceTensor({ ...whole, strides: [whole.shape[1]!, 1] }, dimension, span);
  const [rows, width] = part.shape as [number, number];
  device.kernels.launch(
    ...([uploader.stream.handle, 'place_columns', perElement(rows * width)] as const),
    ...([part.address, width, address, whole.shape[1]!, ELEMENT_TYPE[part.dtype], width, rows * width] as const),
  );
}
