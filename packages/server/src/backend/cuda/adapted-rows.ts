/** The weight that a low-rank adapter stands for, `W + scale * B A`, row by row on the device: merged for good, or measured for DoRA. */

import { LoraxError } from '../../base/errors.ts';
import { NULL, type Pointer } from '../../native/ffi.ts';
import type { Dtype, TensorView } from '../../weights/tensor-view.ts';
import type { LowRankFactors } from '../adapters.ts';
import { requireFinite } from '../finite.ts';
import type { DeviceTensor } from './adapter-table.ts';
import type { CudaDevice } from './device.ts';
import { ELEMENT_TYPE } from './element-types.ts';
import { perRow } from './grids.ts';
import { readInto } from './device-rows.ts';
import type { Uploader } from './uploader.ts';
import { emptyWeight, uploadWeight, type CudaWeight, type TakeMemory } from './weights.ts';

export interface LoadDevice {
  readonly device: CudaDevice;
  readonly uploader: Uploader;
}

/** A weight on the device and what is added to it. */
export interface Adaptation {
  readonly weight: DeviceTensor & Pick<CudaWeight, 'shape' | 'name'>;
  readonly a: DeviceTensor;
  readonly b: DeviceTensor;
  readonly rank: number;
  readonly scale: number;
  /** `[out]` float32. */
  readonly magnitude: Pointer | undefined;
}

/** Where results go: whole rows, or only the factors `[out]` that bring them to their magnitudes. */
interface Target {
  readonly rows?: DeviceTensor;
  readonly factors?: Pointer;
}

/** In memory that `take` gives. Throws FILE_INVALID where values are not finite, before or after. */
export async function mergeWeight(
  load: LoadDevice,
  take: TakeMemory,
  view: TensorView,
  factors: LowRankFactors,
  dtype: Dtype,
): Promise<CudaWeight> {
  const { device, uploader } = load;
  const aside: TakeMemory = (byteLength, what) => device.allocate(byteLength, what);
  const owned: CudaWeight[] = [];
  const bring = async (tensor: TensorView, as: Dtype): Promise<CudaWeight> => {
    const weight = await uploadWeight(aside, uploader, tensor, as);
    owned.push(weight);
    return weight;
  };
  const merged = emptyWeight(take, view, dtype);
  try {
    const { a, b, magnitude, rank, scale } = factors;
    for (const part of [a, b, magnitude]) if (part) requireFinite(part);
    const parts = { weight: await bring(view, view.dtype), a: await bring(a, a.dtype), b: await bring(b, b.dtype) };
    const lengths = magnitude && (await bring(magnitude, 'float32'));
    await adaptRows(load, { ...parts, rank, scale, magnitude: lengths?.address }, { rows: merged });
    return merged;
  } catch (error) {
    merged.dispose();
    throw error;
  } finally {
    for (const weight of owned) weight.dispose();
  }
}

/** DoRA's factors, in the place of the magnitudes. */
export async function measureRows(load: LoadDevice, adaptation: Adaptation, magnitude: Pointer): Promise<void> {
  await adaptRows(load, { ...adaptation, magnitude }, { factors: magnitude });
}

/** Sums of squares of the adapted rows, `[out]`, over the inputs that the weight has on this card. */
export async function squareRows(
  { device, uploader }: LoadDevice,
  { weight, a, b, rank, scale }: Omit<Adaptation, 'magnitude'>,
): Promise<Float32Array> {
  const [outFeatures, inFeatures] = weight.shape as [number, number];
  const squares = new Float32Array(outFeatures);
  const memory = device.allocate(squares.byteLength, "sums of a weight's squares");
  try {
    device.kernels.launch(
      ...([uploader.stream.handle, 'square_rows', perRow(outFeatures, inFeatures), memory.address] as const),
      ...([weight.address, typeOf(weight), a.address, typeOf(a), b.address, typeOf(b)] as const),
      ...([rank, scale, inFeatures] as const),
    );
    await uploader.stream.finish(`measuring ${weight.name}`);
    return readInto(device.driver, squares, memory.address);
  } finally {
    memory.dispose();
  }
}

async function adaptRows({ device, uploader }: LoadDevice, adaptation: Adaptation, target: Target): Promise<void> {
  const { weight, a, b, rank, scale, magnitude } = adaptation;
  const [outFeatures, inFeatures] = weight.shape as [number, number];
  const { rows, factors } = target;
  const faults = device.allocate(Int32Array.BYTES_PER_ELEMENT, 'a count of faults');
  try {
    uploader.uploadBytes(new Int32Array(1), faults.address);
    device.kernels.launch(
      ...([uploader.stream.handle, 'adapt_rows', perRow(outFeatures, inFeatures)] as const),
      ...([rows?.address ?? NULL, typeOf(rows), factors ?? NULL, faults.address] as const),
      ...([weight.address, typeOf(weight), a.address, typeOf(a), b.address, typeOf(b)] as const),
      ...([rank, scale, magnitude ?? NULL, inFeatures] as const),
    );
    await uploader.stream.finish(`adapting ${weight.name}`);
    const [faultCount] = readInto(device.driver, new Int32Array(1), faults.address);
    if (faultCount !== 0) throw adaptedNotFinite(weight.name, rows?.dtype);
  } finally {
    faults.dispose();
  }
}

function typeOf(tensor: DeviceTensor | undefined): number {
  return ELEMENT_TYPE[tensor?.dtype ?? 'float32'];
}

/** Float16 ends at 65504, and a row of zeros has no direction in which DoRA could lengthen it. */
export function adaptedNotFinite(file: string, dtype: Dtype = 'float32'): LoraxError {
  const reason = `with the adapter merged into it has values that ${dtype} cannot hold`;
  return new LoraxError('FILE_INVALID', { file, reason });
}
