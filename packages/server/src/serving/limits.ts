/** Limits that follow from the model and the machine where the operator set none. Pure. */

import type { DecoderConfig } from '../models/decoder.ts';
import type { KvDtype, KvShape } from '../backend/kv.ts';

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

export function deriveLimits(
  given: GivenLimits,
  maxPositions: number,
  kvBytesPerToken: number,
  freeBytes: number,
): DerivedLimits {
  const maxTotalTokens = given.maxTotalTokens ?? Math.min(maxPositions, DEFAULT_CONTEXT);
  const affordable = Math.floor((freeBytes * KV_MEMORY_SHARE) / kvBytesPerToken);
  const useful = maxTotalTokens * given.maxBatchSize;
  return {
    maxTotalTokens,
    maxInputLength: given.maxInputLength ?? maxTotalTokens - 1,
    maxBatchTotalTokens: given.maxBatchTotalTokens ?? Math.max(maxTotalTokens, Math.min(useful, affordable)),
  };
}

export function kvShape(decoder: DecoderConfig, dtype: KvDtype, cellCount: number): KvShape {
  return { layerCount: decoder.layerCount, cellCount, width: decoder.kvHeadCount * decoder.headDim, dtype };
}

/** Keys and values of one token in every layer. */
export function kvBytesPerToken(decoder: DecoderConfig, dtype: KvDtype): number {
  const { layerCount, width } = kvShape(decoder, dtype, 0);
  return 2 * layerCount * width * (dtype === 'float32' ? 4 : 2);
}
