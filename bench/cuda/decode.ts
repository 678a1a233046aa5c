/** Decode steps by number of rows and adapters, over the time that reading their bytes once takes. */

import { sum } from '../statistics.ts';
import type { Ceilings } from './ceilings.ts';
import { decodeSegments, type DecodeRows } from './decode-segments.ts';
import type { ResidentModel } from './resident-model.ts';
import type { Limit, Result } from './result.ts';
import type { Sizes } from './sizes.ts';
import { timeSteps, type StepTime } from './step-time.ts';

/** What this backend set out to reach, by work. */
export const DECODE_LIMITS: Readonly<Record<string, Limit>> = {
  'decode 1 row, base': { atMost: 1.2 },
  'decode 32 rows, base': { atMost: 1.25 },
  'decode 32 rows, 32 adapters of rank 16': { atMost: 1.35 },
  'decode 64 rows, 32 adapters of ranks 8 to 64': { atMost: 1.5 },
};

interface DecodeCase extends DecodeRows {
  readonly adapters: string;
}

export async function* measureDecode(
  model: ResidentModel,
  ceilings: Ceilings,
  sizes: Sizes,
): AsyncGenerator<Result, void, undefined> {
  const { context, rowCounts, adapterCount, rank, ranks, repeats } = sizes;
  const measure = async (one: DecodeCase): Promise<Result> => {
    const time = await timeSteps(model, decodeSegments(one, context), repeats);
    return decodeResult(one, time, (bytesOf(model, one, context) / ceilings.bytesPerSecond) * 1000);
  };
  for (const rowCount of rowCounts) yield await measure({ rowCount, slots: [], adapters: 'base' });
  const alike = await model.loadAdapters(Array.from({ length: adapterCount }, () => rank));
  for (const rowCount of rowCounts) {
    const slots = alike.slice(0, rowCount);
    const adapters = `${slots.length} adapter${slots.length > 1 ? 's' : ''} of rank ${rank}`;
    yield await measure({ rowCount, slots, adapters });
  }
  model.unload(alike);
  const mixed = await model.loadAdapters(Array.from({ length: adapterCount }, (_, i) => ranks[i % ranks.length]!));
  const adapters = `${adapterCount} adapters of ranks ${Math.min(...ranks)} to ${Math.max(...ranks)}`;
  yield await measure({ rowCount: Math.max(...rowCounts), slots: mixed, adapters });
  model.unload(mixed);
}

/** Tokens a second of the usual steps: every row with an adapter of its own. */
export async function usualTokensPerSecond(model: ResidentModel, sizes: Sizes): Promise<number> {
  const { usualRows: rowCount, adapterCount, rank, context, repeats } = sizes;
  const slots = await model.loadAdapters(Array.from({ length: adapterCount }, () => rank));
  const { ms } = await timeSteps(model, decodeSegments({ rowCount, slots }, context), repeats);
  model.unload(slots);
  return (1000 * rowCount) / ms;
}

/** Weights, keys and values, and each adapter, once. */
function bytesOf(model: ResidentModel, { rowCount, slots }: DecodeRows, context: number): number {
  const cells = rowCount * (context + 1) * model.cellBytes;
  return model.stepBytes + cells + sum(slots.map(({ byteLength }) => byteLength));
}

function decodeResult({ rowCount, adapters }: DecodeCase, time: StepTime, floorMs: number): Result {
  const work = `decode ${rowCount} row${rowCount > 1 ? 's' : ''}, ${adapters}`;
  const tokensPerSecond = (1000 * rowCount) / time.ms;
  const details = { ...time, floorMs, tokensPerSecond };
  return { work, value: time.ms / floorMs, unit: 'times the floor', limit: DECODE_LIMITS[work], details };
}
