/** How much is measured. Knows no model and no device. */

export interface Sizes {
  /** Tokens that each decoding row sees before its own. */
  readonly context: number;
  /** Of decode steps; the last is the largest. */
  readonly rowCounts: readonly number[];
  /** Rows of the steps that adapters are loaded beside, and streams through HTTP. */
  readonly usualRows: number;
  /** Different adapters in a step, at most. */
  readonly adapterCount: number;
  readonly rank: number;
  /** Of the adapters of mixed ranks, in turn. */
  readonly ranks: readonly number[];
  readonly prompts: { readonly count: number; readonly length: number };
  readonly drafts: { readonly rowCount: number; readonly guesses: number };
  /** Steps of which the median counts. */
  readonly repeats: number;
  /** Adapters that are loaded one after the other while steps run. */
  readonly loads: number;
  /** Tokens that each stream gets; half of them before its context is `context` long, half beyond. */
  readonly newTokens: number;
}

/** What the figures to reach are about. */
export const SIZES: Sizes = {
  context: 512,
  rowCounts: [1, 8, 32, 64],
  usualRows: 32,
  adapterCount: 32,
  rank: 16,
  ranks: [8, 16, 32, 64],
  prompts: { count: 4, length: 2048 },
  drafts: { rowCount: 8, guesses: 3 },
  repeats: 60,
  loads: 12,
  newTokens: 256,
};

/** That a KV cache needs for everything but HTTP. */
export function cellCount({ context, rowCounts, prompts }: Sizes): number {
  return Math.max(Math.max(...rowCounts) * cellsEach(context), prompts.count * prompts.length);
}

/** Of a row: its context, the tokens themselves, and no odd border between rows. */
export function cellsEach(context: number): number {
  return context + 16;
}
