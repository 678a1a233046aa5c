/** The ways of drafting that are compared, and the engines that serve them. */

import { basename, dirname } from 'node:path';
import type { SpeculationParams } from '#server/scheduler/speculation.ts';
import { openServed, type BenchEngine } from './bench-engine.ts';
import type { BenchOptions, DraftingSettings } from './options.ts';

/** Chains and trees need an engine each: how many guesses there are for a place is the server's to say. */
const CANDIDATES = { chain: 1, tree: 4 } as const;
export type DraftEngine = keyof typeof CANDIDATES;

interface Mode {
  readonly engine: DraftEngine;
  readonly speculation: SpeculationParams['mode'];
  /** Without drafts on the same engine: two engines differ by where their weights happen to lie, and by more than drafts may cost. */
  readonly comparedWith: 'off' | 'off, chain';
}

/**
 * `again` drafts no more than `off`: what sets them apart is the machine's noise. `chain` and `tree` use heads and look back,
 * `heads` is the tree without looking back, `lookup` looks back without heads.
 */
export const DRAFT_MODES = {
  off: { engine: 'tree', speculation: 'off', comparedWith: 'off' },
  again: { engine: 'tree', speculation: 'off', comparedWith: 'off' },
  tree: { engine: 'tree', speculation: 'auto', comparedWith: 'off' },
  heads: { engine: 'tree', speculation: 'medusa', comparedWith: 'off' },
  lookup: { engine: 'tree', speculation: 'ngram', comparedWith: 'off' },
  'off, chain': { engine: 'chain', speculation: 'off', comparedWith: 'off, chain' },
  chain: { engine: 'chain', speculation: 'auto', comparedWith: 'off, chain' },
} as const satisfies Record<string, Mode>;
export type DraftMode = keyof typeof DRAFT_MODES;

/** Whether the mode is there to be compared with. */
export function isBare(mode: DraftMode): boolean {
  return DRAFT_MODES[mode].speculation === 'off';
}

/** What the heads of the bundled model name as their base. */
const MODEL_ID = 'lorax-demo/base';

export type DraftEngines = Readonly<Record<DraftEngine, BenchEngine>>;

export async function openDraftEngines(
  bench: BenchOptions,
  { model: folder, heads }: DraftingSettings,
): Promise<DraftEngines> {
  const open = (engine: DraftEngine): Promise<BenchEngine> => {
    const given = { adapterId: basename(heads), speculationCandidates: CANDIDATES[engine] };
    return openServed(bench, { modelId: MODEL_ID, folder, adapterRoot: dirname(heads), given });
  };
  const tree = await open('tree');
  try {
    return { tree, chain: await open('chain') };
  } catch (error) {
    await tree.engine.dispose();
    throw error;
  }
}
