/** Which guesses a request gets: what its caller asks for, what its adapter brings, what the server has. */

import type { DraftHeads } from '../adapters/store/adapter-lease.ts';
import type { AdapterChoice } from '../base/adapter-reference.ts';
import { invalidField, LoraxError } from '../base/errors.ts';
import { isSampling, type SamplingParams } from '../engine/sampling/params.ts';
import type { RequestDrafting } from './running-request.ts';

export const SPECULATION_MODES = ['auto', 'off', 'medusa', 'ngram'] as const;
export type SpeculationMode = (typeof SPECULATION_MODES)[number];

/** More are never right one after the other often enough. */
export const MAX_SPECULATION_TOKENS = 64;

export interface SpeculationParams {
  readonly mode: SpeculationMode;
  /** Most tokens guessed ahead; undefined leaves it to the server. */
  readonly tokens: number | undefined;
}

export interface SpeculationDefaults {
  /** Of the server's default adapter: they guess for every request whose adapter brings none. */
  readonly heads: DraftHeads | undefined;
  /** Tokens guessed by looking back; 0 is none unless a request asks for it or has heads. */
  readonly ngramTokens: number;
  /** LoRAX's rule: an adapter's heads must be as many as the default ones. */
  readonly strictHeads: boolean;
}

/** For a request that looks back on a server that is not told how far ahead that guesses. */
const NGRAM_TOKENS = 8;

export interface SpeculatedRequest {
  readonly speculation: SpeculationParams | undefined;
  readonly sampling: SamplingParams;
  readonly adapter: AdapterChoice | undefined;
  readonly adapterGeneration: string | undefined;
  /** The adapter's own. */
  readonly heads: DraftHeads | undefined;
}

/**
 * Undefined drafts nothing. Throws VALIDATION where heads are asked for and there are none, ADAPTER_INVALID where the
 * adapter's own heads cannot be used by a single request.
 */
export function chooseDrafting(request: SpeculatedRequest, defaults: SpeculationDefaults): RequestDrafting | undefined {
  const { mode, tokens } = request.speculation ?? { mode: 'auto', tokens: undefined };
  if (mode === 'off') return undefined;
  const heads = mode === 'ngram' ? undefined : chooseHeads(request, defaults);
  if (mode === 'medusa' && heads === undefined) {
    throw invalidField('speculation.mode', 'is `medusa`, but neither the adapter nor the server has Medusa heads');
  }
  const headPlaces = heads === undefined ? 0 : (tokens ?? heads.model.headCount);
  const lookbackPlaces = mode === 'medusa' ? 0 : (tokens ?? lookbackTokens(mode, heads, defaults));
  if (headPlaces + lookbackPlaces === 0) return undefined;
  return {
    heads: heads?.model,
    headPlaces,
    lookbackPlaces,
    key: keyOf(request, heads),
    adapter: nameOf(request.adapter),
  };
}

/** Beside heads a request looks back on every server: what that finds saves a run of them. */
function lookbackTokens(
  mode: SpeculationMode,
  heads: DraftHeads | undefined,
  { ngramTokens }: SpeculationDefaults,
): number {
  return mode === 'ngram' || heads !== undefined ? ngramTokens || NGRAM_TOKENS : ngramTokens;
}

/** As in LoRAX, only the default adapter's heads may be of version 1, and without it no other heads are used. */
function chooseHeads(
  { heads, adapter }: SpeculatedRequest,
  { heads: standard, strictHeads }: SpeculationDefaults,
): DraftHeads | undefined {
  if (heads === undefined || heads.generation === standard?.generation) return standard;
  const refuse = (reason: string): LoraxError => {
    const hint = 'with speculation.mode `off` or `ngram` they are not used';
    return new LoraxError('ADAPTER_INVALID', {
      adapterId: nameOf(adapter),
      reason: `its Medusa heads ${reason}; ${hint}`,
    });
  };
  if (standard === undefined) throw refuse('need a server that was started with default ones (--adapter-id)');
  const { version, headCount } = heads.model;
  if (version === 1) throw refuse('are of version 1, which works as the default adapter of a server only');
  if (strictHeads && headCount !== standard.model.headCount) {
    throw refuse(`are ${headCount}, the default ones ${standard.model.headCount} (--strict-medusa-heads)`);
  }
  return heads;
}

/** For messages and metrics. */
function nameOf(adapter: AdapterChoice | undefined): string {
  if (adapter === undefined) return 'base';
  return 'members' in adapter ? 'merged' : adapter.id;
}

function keyOf({ sampling, adapterGeneration }: SpeculatedRequest, heads: DraftHeads | undefined): string {
  return [
    adapterGeneration ?? 'base',
    heads?.generation ?? 'ngram',
    isSampling(sampling) ? 'sampled' : 'greedy',
  ].join();
}
