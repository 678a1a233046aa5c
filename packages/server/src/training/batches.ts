/** Rows of many samples, cut into batches of a size that suits matrix products. Knows nothing about learning. */

import type { HeadBatch, HeadsShape } from '../backend/training.ts';
import type { HiddenCache } from './hidden-cache.ts';
import type { Sample } from './sample.ts';

/** Logits of one head in a batch: 128 MiB, of which a few copies are in memory at a time. */
const MAX_LOGITS = 2 ** 25;
const MAX_ROWS = 1024;

export async function* rowBatches(
  samples: readonly Sample[],
  cache: HiddenCache,
  { hiddenSize, vocabSize, headCount }: HeadsShape,
  signal: AbortSignal,
): AsyncGenerator<HeadBatch, void, undefined> {
  const capacity = Math.max(1, Math.min(MAX_ROWS, Math.floor(MAX_LOGITS / vocabSize)));
  const hidden = new Float32Array(capacity * hiddenSize);
  const labels = Array.from({ length: headCount }, () => new Int32Array(capacity));
  let filled = 0;
  for (const sample of samples) {
    const states = await cache.of(sample, signal);
    for (let from = 0; from < sample.rows.length;) {
      const count = Math.min(capacity - filled, sample.rows.length - from);
      hidden.set(states.subarray(from * hiddenSize, (from + count) * hiddenSize), filled * hiddenSize);
      for (const [head, own] of sample.labels.entries()) labels[head]!.set(own.subarray(from, from + count), filled);
      from += count;
      filled += count;
      if (filled === capacity) {
        yield { hidden, labels };
        filled = 0;
      }
    }
  }
  if (filled > 0) {
    yield { hidden: hidden.slice(0, filled * hiddenSize), labels: labels.map((own) => own.slice(0, filled)) };
  }
}
