/** Which guesses a request gets: what its caller asks for, what its adapter brings, what the server has. */

import { invalidField } from '../base/errors.ts';
import { isSampling, type SamplingParams } from '../engine/sampling/params.ts';
import type { DraftHeads } from '../adapters/adapter-lease.ts';
import type { RequestDrafting } from './running-request.ts';

export const SPECULATION_MODES = ['auto', 'off', 'medusa', 'ngram'] as const;
export type SpeculationMode = (typeof SPECULATION_MODES)[number];

export interface SpeculationParams {
  readonly mode: SpeculationMode;
  /** Most tokens guessed ahead; undefined leaves it to the server. */
  readonly tokens: number | undefined;
}

export interface SpeculationDefaults {
  readonly heads: DraftHeads | undefined;
  /** Tokens guessed by looking back where no heads are; 0 is none unless a request asks for it. */
  readonly ngramTokens: number;
}

/** For a request that asks for guesses by looking back on a server that does not make them by itself. */
const NGRAM_TOKENS = 4;

export interface SpeculatedRequest {
  readonly speculation: SpeculationParams | undefined;
  readonly sampling: SamplingParams;
  readonly adapterGeneration: string | undefined;
  /** The adapter's own. */
  readonly heads: DraftHeads | undefined;
}

/** Undefined drafts nothing. Throws VALIDATION where heads are asked for and there are none. */
export function chooseDrafting(request: SpeculatedRequest, defaults: SpeculationDefaults): RequestDrafting | undefined {
  const { mode, tokens } = request.speculation ?? { mode: 'auto', tokens: undefined };
  if (mode === 'off') return undefined;
  const heads = mode === 'ngram' ? undefined : (request.heads ?? defaults.heads);
  if (mode === 'medusa' && heads === undefined) {
    throw invalidField('speculation.mode', 'is `medusa`, but neither the adapter nor the server has Medusa heads');
  }
  const ngramTokens = mode === 'ngram' ? defaults.ngramTokens || NGRAM_TOKENS : defaults.ngramTokens;
  const mostPlaces = tokens ?? heads?.model.headCount ?? ngramTokens;
  if (mostPlaces === 0) return undefined;
  return { heads: heads?.model, mostPlaces, key: keyOf(request, heads) };
}

function keyOf({ sampling, adapterGeneration }: SpeculatedRequest, heads: DraftHeads | undefined): string {
  return [
    adapterGeneration ?? 'base',
    heads?.generation ?? 'ngram',
    isSampling(sampling) ? 'sampled' : 'greedy',
  ].join();
}
