/** From a file's records to samples of one length limit, told what was left out. Knows no device. */

import { createHash } from 'node:crypto';
import type { Logger } from '../telemetry/log.ts';
import type { Progress } from '../telemetry/progress.ts';
import type { Tokenizer } from '../text/tokenizer.ts';
import { learntText } from './learnt-text.ts';
import { makeSample, type Sample } from './sample.ts';
import type { TrainingText } from './training-text.ts';

export interface SampleShape {
  readonly headCount: number;
  readonly maxLen: number;
}

export interface SampleTools {
  readonly tokenizer: Tokenizer;
  readonly progress: Progress;
  readonly log: Pick<Logger, 'warn'>;
}

/** Records that teach nothing are left out. */
export async function makeSamples(
  records: readonly TrainingText[],
  shape: SampleShape,
  { tokenizer, progress, log }: SampleTools,
  signal: AbortSignal,
): Promise<Sample[]> {
  const samples: Sample[] = [];
  let lostTurns = 0;
  const bar = progress.start('tokenising', records.length, (count) => `${count} records`);
  try {
    for (const record of records) {
      const text = await learntText(tokenizer, record, signal);
      const sample = await makeSample(tokenizer, text, shape, signal);
      lostTurns += text.lostTurns;
      if (sample.rows.length > 0) samples.push(sample);
      bar.advance(1);
    }
  } finally {
    bar.done();
  }
  const emptyCount = records.length - samples.length;
  if (lostTurns > 0) log.warn(`${lostTurns} answers are not learnt: the chat template writes them in two ways`);
  if (emptyCount > 0) log.warn(`${emptyCount} records teach nothing within ${shape.maxLen} tokens and are left out`);
  return samples;
}

/** SHA-256 over all tokens and labels, in hexadecimal. */
export function sampleHash(samples: readonly Sample[]): string {
  const hash = createHash('sha256');
  for (const { tokens, rows, labels } of samples) {
    hash.update(`${tokens.length} ${rows.length}\n`);
    for (const part of [Int32Array.from(tokens), rows, ...labels]) hash.update(part);
  }
  return hash.digest('hex');
}
