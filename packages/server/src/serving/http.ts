/** The engine as the HTTP layer sees it: limits, model facts, adapters to list, health. Knows no routes. */

import { MergedBase } from '../adapters/merged-base.ts';
import { LoraxError } from '../base/errors.ts';
import type { Serving, ServedAdapter } from '../api/serving.ts';
import type { ServeOptions } from '../config/options.ts';
import { GREEDY } from '../engine/sampling/params.ts';
import type { GenerationRequest } from '../scheduler/request.ts';
import type { Engine } from './engine.ts';

/** The body limit of LoRAX's HTTP framework. */
const MAX_BODY_BYTES = 2 << 20;

/** As OpenAI allows for `top_logprobs`. */
const MAX_ALTERNATIVES = 20;

export interface ServingFacts {
  readonly options: ServeOptions;
  readonly version: string;
  readonly revision: string | undefined;
  /** Adapters that can be named without asking anybody. */
  readonly listedAdapters: readonly ServedAdapter[];
}

export function makeServing(engine: Engine, facts: ServingFacts): Serving {
  const { options, revision } = facts;
  const { model, limits, tokenizer, generator } = engine;
  const createdAt = Math.floor(Date.now() / 1000);
  return {
    generator,
    adapters: engine.adapters,
    tokenizer,
    limits: {
      maxBestOf: options.maxBestOf,
      maxSequences: options.maxConcurrentRequests,
      maxStopSequences: options.maxStopSequences,
      maxInputLength: limits.maxInputLength,
      maxTotalTokens: limits.maxTotalTokens,
      maxAlternatives: Math.min(MAX_ALTERNATIVES, model.description.decoder.vocabSize),
      maxBodyBytes: MAX_BODY_BYTES,
    },
    model: {
      id: model.id,
      ...(revision !== undefined && { revision }),
      dtype: model.dtype,
      device: 'cpu',
      type: model.description.config.model_type,
      createdAt,
    },
    defaultAdapterSource: options.defaultAdapterSource,
    hasBareBase: mergedAdapter(engine) === undefined,
    defaultAdapter: engine.defaultAdapter,
    info: () => serverInfo(engine, facts),
    listAdapters: () => withGenerations(engine, facts.listedAdapters),
    checkHealth: () => checkHealth(engine),
  };
}

/** While steps succeed there is nothing to do; after a failure one token tells whether the model answers again. */
export async function checkHealth({ scheduler, generator }: Pick<Engine, 'scheduler' | 'generator'>): Promise<void> {
  if (scheduler.lastFailure === undefined) return;
  try {
    const { events } = await generator.generate(PROBE, new AbortController().signal);
    for await (const event of events) if (event.kind === 'end') return;
  } catch (cause) {
    throw new LoraxError('UNHEALTHY', { reason: 'the last step failed, and so did another try' }, { cause });
  }
}

const PROBE: GenerationRequest = {
  prompt: { tokens: [0] },
  addSpecialTokens: false,
  adapter: undefined,
  sampling: GREEDY,
  maxNewTokens: 1,
  stop: [],
  ignoreEos: true,
  truncate: undefined,
  promptLogprobs: false,
  alternatives: 0,
};

/** The adapter that --merge-adapter-weights made part of the base. */
function mergedAdapter({ adapters }: Pick<Engine, 'adapters'>): ServedAdapter | undefined {
  if (!(adapters instanceof MergedBase)) return undefined;
  const { id, source } = adapters.status;
  return { id, source, generation: adapters.generation };
}

/** Listed adapters with what is resident: those that were loaded by name only are listed too. */
function withGenerations(engine: Engine, listed: readonly ServedAdapter[]): ServedAdapter[] {
  const adapters = new Map(listed.map((adapter) => [`${adapter.source} ${adapter.id}`, adapter]));
  for (const { id, source, generation, state } of engine.adapters.statuses()) {
    if (state !== 'resident' || generation === undefined) continue;
    adapters.set(`${source} ${id}`, { ...adapters.get(`${source} ${id}`), id, source, generation });
  }
  return [...adapters.values()];
}

/** LoRAX's fields (spec section 1.9), as far as this server has them, and what it has beyond. */
function serverInfo(engine: Engine, { options, version, revision }: ServingFacts): Record<string, unknown> {
  const { model, limits, backend } = engine;
  return {
    model_id: model.id,
    model_sha: revision ?? null,
    model_dtype: model.dtype,
    model_device_type: 'cpu',
    model_pipeline_tag: 'text-generation',
    model_type: model.description.config.model_type,
    max_concurrent_requests: options.maxConcurrentRequests,
    max_best_of: options.maxBestOf,
    max_stop_sequences: options.maxStopSequences,
    max_input_length: limits.maxInputLength,
    max_total_tokens: limits.maxTotalTokens,
    max_batch_prefill_tokens: options.maxBatchPrefillTokens,
    max_batch_total_tokens: limits.maxBatchTotalTokens,
    max_batch_size: options.maxBatchSize,
    max_active_adapters: options.maxActiveAdapters,
    merged_adapter: mergedAdapter(engine) ?? null,
    speculation: speculationInfo(engine, options),
    library: backend.description.library,
    device: backend.description.device,
    threads: backend.description.threads,
    version,
  };
}

/** Without a bound of the operator's the largest step with drafts follows from what steps cost. */
function speculationInfo({ speculation }: Pick<Engine, 'speculation'>, options: ServeOptions): Record<string, unknown> {
  const { heads, ngramTokens, strictHeads } = speculation;
  return {
    default_heads: heads
      ? {
          adapter_id: options.adapterId,
          adapter_generation: heads.generation,
          head_count: heads.model.headCount,
          version: heads.model.version,
        }
      : null,
    strict_heads: strictHeads,
    speculative_tokens: ngramTokens,
    candidates: options.speculationCandidates,
    max_batch_size: options.speculationMaxBatchSize ?? null,
  };
}
