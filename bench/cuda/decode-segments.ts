/** Segments of steps that generate, and the cells that they see. Knows no clock. */

import type { AdapterSlot } from '#server/backend/adapters.ts';
import { oneSlot, type StepSegment } from '#server/backend/step.ts';
import type { ResidentModel } from './resident-model.ts';
import { cellsEach, type Sizes } from './sizes.ts';

export interface DecodeRows {
  readonly rowCount: number;
  /** Shared out among the rows in turn; none is the bare base. */
  readonly slots: readonly AdapterSlot[];
  /** Tokens that are verified in the same step. */
  readonly guesses?: number;
}

/** One token for each row, and its guesses; each row sees a context of its own. */
export function decodeSegments({ rowCount, slots, guesses = 0 }: DecodeRows, context: number): StepSegment[] {
  return Array.from({ length: rowCount }, (_, row) => {
    const slot = slots[row % Math.max(1, slots.length)];
    return {
      tokens: Array.from({ length: 1 + guesses }, (_unused, depth) => row + depth),
      position: context,
      firstCell: row * cellsEach(context),
      adapters: oneSlot(slot),
      outputCount: 1 + guesses,
    };
  });
}

/** One prompt is computed, and its keys and values given to all rows. */
export async function fillContexts(model: ResidentModel, { context, rowCounts }: Sizes): Promise<void> {
  await model.run([model.prompt(0, context, 0)]);
  for (let row = 1; row < Math.max(...rowCounts); row++) {
    const first = row * cellsEach(context);
    model.kv.moveCells(Array.from({ length: context }, (_, cell) => ({ from: cell, to: first + cell })));
  }
}
