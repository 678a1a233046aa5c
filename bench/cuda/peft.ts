/** What scripts/bench-peft.py measured on the same card, beside what was measured here. Throws OPTION_INVALID. */

import { readFileSync } from 'node:fs';
import { refuse } from '../flag-values.ts';
import type { Result } from './result.ts';
import type { Sizes } from './sizes.ts';

export interface PeftFigures {
  readonly device: string;
  readonly layers: number;
  readonly rows: number;
  readonly adapters: number;
  readonly rank: number;
  readonly context: number;
  readonly tokensPerSecond: number;
}

const LIMIT = { atLeast: 100 };

/** Of the file's last line. */
export function readPeft(file: string, layerCount: number, sizes: Sizes): PeftFigures {
  const figures = lastLine(file);
  const wanted = {
    ...{ layers: layerCount, rows: sizes.usualRows, adapters: sizes.adapterCount },
    ...{ rank: sizes.rank, context: sizes.context },
  };
  for (const [name, value] of Object.entries(wanted) as [keyof PeftFigures, number][]) {
    if (figures[name] !== value) refuse('--peft', `measured ${name} ${figures[name] ?? 'unknown'}, not ${value}`);
  }
  if (typeof figures.tokensPerSecond !== 'number') refuse('--peft', 'holds no tokensPerSecond');
  return figures as PeftFigures;
}

/** Rates of the same rows and adapters that were measured here, over PEFT's. */
export function comparePeft(
  { tokensPerSecond: peft }: PeftFigures,
  results: readonly Result[],
  sizes: Sizes,
): Result[] {
  const { usualRows, adapterCount, rank } = sizes;
  const same = `${usualRows} (rows|streams), ${adapterCount} adapters of rank ${rank}$`;
  return results
    .filter(({ work }) => new RegExp(same).test(work))
    .map(({ work, details }) => {
      const tokensPerSecond = details['tokensPerSecond'] ?? NaN;
      return {
        ...{ work: `${work}, over PEFT`, value: tokensPerSecond / peft, unit: "times PEFT's tokens/s", limit: LIMIT },
        details: { tokensPerSecond, peftTokensPerSecond: peft },
      };
    });
}

function lastLine(file: string): Partial<PeftFigures> {
  try {
    const line = readFileSync(file, 'utf8').trim().split('\n').at(-1)!;
    return JSON.parse(line) as Partial<PeftFigures>;
  } catch (error) {
    return refuse('--peft', (error as Error).message);
  }
}
