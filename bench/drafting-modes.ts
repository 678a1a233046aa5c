/** The ways of drafting that are compared, each served by an engine of its own that learns what pays for it alone. */

import { basename, dirname } from 'node:path';
import type { GivenOptions } from '#server/config/options.ts';
import { openServed, type BenchEngine } from './bench-engine.ts';
import type { BenchOptions, DraftingSettings } from './options.ts';

/**
 * `again` drafts no more than `off`: what sets them apart is the machine's noise. `chain` and `tree` use heads and look back,
 * `heads` is the tree without looking back, `lookup` looks back without heads.
 */
export const DRAFT_MODES = ['off', 'again', 'chain', 'tree', 'heads', 'lookup'] as const;
export type DraftMode = (typeof DRAFT_MODES)[number];

/** Guesses per place of a tree. */
const TREE_CANDIDATES = 4;
const LOOKUP_TOKENS = 8;

/** What the heads of the bundled model name as their base. */
const MODEL_ID = 'lorax-demo/base';

export async function openModes(
  bench: BenchOptions,
  { model: folder, heads }: DraftingSettings,
): Promise<ReadonlyMap<DraftMode, BenchEngine>> {
  const engines = new Map<DraftMode, BenchEngine>();
  const withHeads = { adapterId: basename(heads) };
  const given: Record<DraftMode, Partial<GivenOptions>> = {
    off: {},
    again: {},
    chain: { ...withHeads, speculationCandidates: 1 },
    tree: { ...withHeads, speculationCandidates: TREE_CANDIDATES },
    heads: { ...withHeads, speculationCandidates: TREE_CANDIDATES },
    lookup: { speculativeTokens: LOOKUP_TOKENS },
  };
  try {
    for (const mode of DRAFT_MODES) {
      const served = { modelId: MODEL_ID, folder, adapterRoot: dirname(heads), given: given[mode] };
      engines.set(mode, await openServed(bench, served));
    }
    return engines;
  } catch (error) {
    for (const { engine } of engines.values()) await engine.dispose();
    throw error;
  }
}
