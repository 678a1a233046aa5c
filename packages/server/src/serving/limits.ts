/** Limits that follow from the model and the machine where the operator set none. Pure arithmetic. */

import { LoraxError } from '../base/errors.ts';
import type { DecoderConfig } from '../models/decoder.ts';
import type { KvShape, KvTypes } from '../backend/kv.ts';
import { DTYPE_BYTES, type Dtype } from '../weights/tensor-view.ts';

/** LoRAX's default context, where the model allows as much. */
const DEFAULT_CONTEXT = 4096;

/** Share of the free memory that the KV cache takes by itself. */
const KV_MEMORY_SHARE = 0.25;

export interface GivenLimits {
  readonly maxInputLength: number | undefined;
  readonly maxTotalTokens: number | undefined;
  readonly maxBatchTotalTokens: number | undefined;
  readonly maxBatchSize: number;
}

export interface DerivedLimits {
  readonly maxInputLength: number;
  readonly maxTotalTokens: number;
  /** Cells of the KV cache. */
  readonly maxBatchTotalTokens: number;
}

/** Throws OPTION_INVALID where a limit that was given leaves the model no room. */
export function deriveLimits(
  given: GivenLimits,
  maxPositions: number,
  kvBytesPerToken: number,
  freeBytes: number,
): DerivedLimits {
  const maxTotalTokens = given.maxTotalTokens ?? defaultContext(given, maxPositions);
  const maxInputLength = given.maxInputLength ?? maxTotalTokens - 1;
  if (maxInputLength >= maxTotalTokens) {
    const reason = `${maxInputLength} must be less than --max-total-tokens, which is ${maxTotalTokens} for this model`;
    throw new LoraxError('OPTION_INVALID', { option: '--max-input-length', reason });
  }
  const affordable = Math.floor((freeBytes * KV_MEMORY_SHARE) / kvBytesPerToken);
  const useful = maxTotalTokens * given.maxBatchSize;
  return {
    maxTotalTokens,
    maxInputLength,
    maxBatchTotalTokens: given.maxBatchTotalTokens ?? Math.max(maxTotalTokens, Math.min(useful, affordable)),
  };
}

/** No more than the cells hold: a request that never fits would wait for ever, and all behind it. */
function defaultContext(
  { maxInputLength = 0, maxBatchTotalTokens = Infinity }: GivenLimits,
  maxPositions: number,
): number {
  return Math.min(maxPositions, maxBatchTotalTokens, Math.max(DEFAULT_CONTEXT, maxInputLength + 1));
}

/**
 * Float16, unless the weights are asked for in float32. At precision `high` keys stay float32: rounding them moves the
 * scores themselves, and costs up to 4e-3 of the largest logit where values cost 1e-3 (conformance, sets of other seeds).
 */
export function kvTypes(dtype: Dtype | undefined, precision: 'high' | 'medium'): KvTypes {
  if (dtype === 'float32') return { key: 'float32', value: 'float32' };
  return { key: precision === 'high' ? 'float32' : 'float16', value: 'float16' };
}

export function kvShape(decoder: DecoderConfig, types: KvTypes, cellCount: number): KvShape {
  return { layerCount: decoder.layerCount, cellCount, width: decoder.kvHeadCount * decoder.headDim, types };
}

/** Keys and values of one token in every layer. */
export function kvBytesPerToken(decoder: DecoderConfig, types: KvTypes): number {
  const { layerCount, width } = kvShape(decoder, types, 0);
  return layerCount * width * (DTYPE_BYTES[types.key] + DTYPE_BYTES[types.value]);
}
