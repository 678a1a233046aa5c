/** Whether a model's attention can be divided among so many cards. */

import { LoraxError } from '../base/errors.ts';
import type { DecoderConfig } from '../models/decoder.ts';
import { describeModel } from '../models/registry.ts';

/** Throws OPTION_INVALID saying how many cards could. */
export async function requireEvenHeads(modelId: string, folder: string, shardCount: number): Promise<void> {
  if (shardCount === 1) return;
  const { decoder } = await describeModel(modelId, folder);
  if (dividesHeads(decoder, shardCount)) return;
  const { headCount, kvHeadCount } = decoder;
  const heads = `${headCount} heads of attention and ${kvHeadCount} of keys and values`;
  const reason = `${shardCount} cards cannot share the ${heads} of ${modelId} evenly; ${fittingCounts(decoder)} can`;
  throw new LoraxError('OPTION_INVALID', { option: '--num-shard', reason });
}

/** Exported for its test. */
export function fittingCounts(decoder: Pick<DecoderConfig, 'headCount' | 'kvHeadCount'>): string {
  const counts = Array.from({ length: decoder.kvHeadCount }, (_, i) => i + 1);
  const fitting = counts.filter((count) => dividesHeads(decoder, count));
  return fitting.length === 1 ? '1' : `${fitting.slice(0, -1).join(', ')} or ${fitting.at(-1)}`;
}

function dividesHeads(
  { headCount, kvHeadCount }: Pick<DecoderConfig, 'headCount' | 'kvHeadCount'>,
  count: number,
): boolean {
  return headCount % count === 0 && kvHeadCount % count === 0;
}
