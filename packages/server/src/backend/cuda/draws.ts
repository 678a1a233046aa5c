/** What the kernels of sampling.cu know about the draws of a step's output rows. Pure. */

import type { StepSegment } from '../step.ts';
import type { StepLayout } from './step-layout.ts';

/** Of `Draw` in sampling.cu: the temperature's inverse, the uniform number and top-p as doubles, top-k as an integer. */
const DRAW_BYTES = 32;

/** Colder than this the best score is alone just the same, but the inverse would not be finite. */
const LOWEST_TEMPERATURE = 1e-300;

const MOST_TOP_K = 2 ** 31 - 1;

export function drawsTokens(segments: readonly StepSegment[]): boolean {
  return segments.some(({ draw }) => draw !== undefined);
}

/** `Draw` of each output row; rows that draw nothing are all 0. */
export function drawTable(layout: StepLayout): Uint8Array {
  const table = new DataView(new ArrayBuffer(layout.outputRows.length * DRAW_BYTES));
  for (const [i, { draw, outputCount }] of layout.segments.entries()) {
    if (draw === undefined) continue;
    const first = layout.firstOutputs[i]! + outputCount - draw.uniforms.length;
    for (const [row, uniform] of draw.uniforms.entries()) {
      const start = (first + row) * DRAW_BYTES;
      table.setFloat64(start, 1 / Math.max(draw.temperature, LOWEST_TEMPERATURE), true);
      table.setFloat64(start + 8, uniform, true);
      table.setFloat64(start + 16, draw.topP, true);
      table.setInt32(start + 24, Math.min(draw.topK, MOST_TOP_K), true);
    }
  }
  return new Uint8Array(table.buffer);
}
