/**
 * A tiny model that answers requests, without HTTP: intake, scheduler, adapters and tokenizer over a watched backend.
 * Ends with a check that nothing is left behind.
 */

import assert from 'node:assert/strict';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import type { AdapterLoader } from '../adapters/adapter-loader.ts';
import type { DraftHeads } from '../adapters/store/adapter-lease.ts';
import { AdapterStore } from '../adapters/store/adapter-store.ts';
import type { AdapterReference } from '../base/adapter-reference.ts';
import { liveHandles } from '../base/handles.ts';
import type { VerifiedDraft } from '../engine/drafting/drafting-observer.ts';
import { Drafting } from '../engine/drafting/drafting.ts';
import { Runner } from '../engine/runner.ts';
import { GREEDY } from '../engine/sampling/params.ts';
import { Sampler } from '../engine/sampling/sampler.ts';
import { SamplingScratch } from '../engine/sampling/scratch.ts';
import { Intake, type IntakeLimits } from '../scheduler/intake.ts';
import type {
  FinishReason,
  GeneratedToken,
  Generation,
  GenerationRequest,
  GenerationResult,
} from '../scheduler/request.ts';
import { Scheduler, type SchedulerLimits, type StepMethod, type StepReport } from '../scheduler/scheduler.ts';
import { openSources } from '../sources/registry.ts';
import type { ResolvedFolder, Source } from '../sources/source.ts';
import { openAdapterTokenizer } from '../text/adapter-tokenizer.ts';
import { type BaseTokenizer, openTokenizer } from '../text/hf-tokenizer.ts';
import type { Tokenizer } from '../text/tokenizer.ts';
import { Setting, type SettingOptions } from './setting.ts';
import { EOS } from './tiny-model.ts';
import { WatchedBackend } from './watched-backend.ts';

export interface RequestSettingOptions extends Omit<SettingOptions, 'wrap'> {
  readonly limits?: Partial<IntakeLimits & SchedulerLimits>;
  readonly maxResident?: number;
  readonly deviceBudgetBytes?: number;
  readonly hostCacheBytes?: number;
  /** Tokens guessed by looking back; none unless told. */
  readonly ngramTokens?: number;
  /** Draft heads for requests whose adapter brings none. */
  readonly heads?: DraftHeads;
  /** Stands between the engine and the tokenizer. */
  readonly wrapTokenizer?: (tokenizer: Tokenizer) => Tokenizer;
}

/** What a caller got: tokens, then a result or an error. */
export interface Answer {
  readonly tokens: readonly GeneratedToken[];
  readonly result: GenerationResult | undefined;
  readonly error: unknown;
}

const DEFAULTS = {
  maxConcurrentRequests: 64,
  maxInputLength: 120,
  maxTotalTokens: 128,
  maxBatchSize: 8,
  maxBatchPrefillTokens: 64,
};

export class RequestSetting {
  readonly engine: Setting;
  readonly backend: WatchedBackend;
  readonly tokenizer: Tokenizer;
  readonly loader: AdapterLoader;
  readonly adapters: AdapterStore;
  readonly scheduler: Scheduler;
  readonly intake: Intake;
  readonly admitted: number[] = [];
  readonly reports: StepReport[] = [];
  readonly verified: VerifiedDraft[] = [];
  readonly failedSteps: StepMethod[] = [];
  readonly failedDrafts: unknown[] = [];
  readonly loadedMs: number[] = [];
  /** Decides who may use an adapter: throws for the others. */
  beforeCheck: (reference: AdapterReference) => Promise<void> | void = () => undefined;
  readonly hub = new CopyingHub();
  /** The clock of the adapter store. */
  nowMs = 0;
  failedLoads = 0;
  evictionCount = 0;
  /** Runs of draft heads. */
  guessCount = 0;

  private constructor(
    engine: Setting,
    backend: WatchedBackend,
    { opened, tokenizer }: { readonly opened: BaseTokenizer; readonly tokenizer: Tokenizer },
    options: RequestSettingOptions,
  ) {
    this.engine = engine;
    this.backend = backend;
    this.tokenizer = tokenizer;
    const { vocabSize } = engine.model.description.decoder;
    const limits = { ...DEFAULTS, vocabSize, ...options.limits };
    const adapterRoot = join(engine.root, 'adapters');
    mkdirSync(adapterRoot, { recursive: true });
    const sources = openSources({ adapterRoot, hub: this.hub.source(adapterRoot) });
    this.loader = engine.loaderWith((folder, id) => openAdapterTokenizer(folder, id, { tokenizer: opened, vocabSize }));
    this.adapters = new AdapterStore({
      access: {
        check: async (reference, signal) => {
          await this.beforeCheck(reference);
          return sources[reference.source].locate(reference.id, { signal });
        },
      },
      loader: this.loader,
      baseIdentity: 'tiny float32',
      maxResident: options.maxResident ?? 8,
      deviceBudgetBytes: options.deviceBudgetBytes ?? 1 << 30,
      hostCacheBytes: options.hostCacheBytes ?? 0,
      observer: {
        onLoaded: (_, durationMs) => this.loadedMs.push(durationMs),
        onLoadFailed: () => this.failedLoads++,
        onEvicted: () => this.evictionCount++,
      },
      now: () => this.nowMs,
    });
    const scratch = new SamplingScratch(vocabSize);
    const watermark = { gamma: 0.5, delta: 2 };
    this.scheduler = new Scheduler({
      runner: new Runner(backend, engine.model.decoder, engine.kv),
      drafting: new Drafting(backend, engine.model.decoder, {
        candidates: 1,
        mostRows: 256,
        observer: { onVerified: (drafts) => this.verified.push(...drafts), onGuessed: () => this.guessCount++ },
      }),
      kv: engine.kv,
      limits,
      makeSampler: (params) => new Sampler(params, { vocabSize, watermark, scratch }),
      observer: {
        onAdmit: (count) => this.admitted.push(count),
        onStep: (report) => {
          this.reports.push(report);
          engine.kv.checkIntegrity();
        },
        onStepFailure: (method) => this.failedSteps.push(method),
        onDraftFailure: (error) => this.failedDrafts.push(error),
      },
    });
    this.intake = new Intake({
      limits,
      tokenizer,
      eosTokenIds: new Set([EOS]),
      scheduler: this.scheduler,
      speculation: { heads: options.heads, ngramTokens: options.ngramTokens ?? 0, strictHeads: false },
      adapters: this.adapters,
    });
  }

  static async open(options: RequestSettingOptions = {}): Promise<RequestSetting> {
    let watched: WatchedBackend | undefined;
    const wrap = (backend: ConstructorParameters<typeof WatchedBackend>[0]): WatchedBackend =>
      (watched = new WatchedBackend(backend));
    const engine = await Setting.open({ ...options, wrap });
    const opened = await openTokenizer(join(engine.root, 'model'));
    const tokenizer = options.wrapTokenizer ? options.wrapTokenizer(opened) : opened;
    return new RequestSetting(engine, watched!, { opened, tokenizer }, options);
  }

  /** Until the test ends. */
  static async openFor(test: TestContext, options?: RequestSettingOptions): Promise<RequestSetting> {
    const setting = await RequestSetting.open(options);
    test.after(() => setting.dispose());
    return setting;
  }

  generate(
    request: Partial<GenerationRequest>,
    signal: AbortSignal = new AbortController().signal,
  ): Promise<Generation> {
    return this.intake.generate({ ...REQUEST, ...request }, signal);
  }

  /** Asks and reads to the end. */
  async answer(request: Partial<GenerationRequest>, signal?: AbortSignal): Promise<Answer> {
    try {
      return await readAnswer(await this.generate(request, signal));
    } catch (error) {
      return { tokens: [], result: undefined, error };
    }
  }

  /** A reference to a random adapter that lies in the adapter root, not loaded yet. */
  adapter(...args: Parameters<Setting['writeAdapter']>): AdapterReference {
    return { id: this.engine.writeAdapter(...args).id, source: 'local' };
  }

  /** Where that adapter's files are. */
  folderOf({ id }: AdapterReference): string {
    return join(this.engine.root, 'adapters', id);
  }

  /** By one request each, one after the other. */
  async use(...references: readonly AdapterReference[]): Promise<void> {
    for (const reference of references) {
      (await this.adapters.acquire(reference, new AbortController().signal)).release();
    }
  }

  async dispose(): Promise<void> {
    await this.scheduler.close();
    this.engine.kv.checkIntegrity();
    assert.equal(this.engine.kv.usedCount, 0, 'every cell came back');
    this.adapters.checkIntegrity();
    await this.adapters.dispose();
    assert.equal(this.hub.heldCount, 0, 'every folder went back to its source');
    assert.deepEqual([this.adapters.deviceBytes, this.adapters.hostBytes], [0, 0], 'every byte came back');
    await this.tokenizer.dispose();
    this.engine.dispose();
    assert.deepEqual(liveHandles(), {});
  }
}

export const REQUEST: GenerationRequest = {
  prompt: { text: 'The cat had' },
  addSpecialTokens: true,
  adapter: undefined,
  sampling: GREEDY,
  maxNewTokens: 5,
  stop: [],
  ignoreEos: true,
  truncate: undefined,
  promptLogprobs: false,
  alternatives: 0,
};

/** Reads a generation to its end, and checks that it has one end at most. */
export async function readAnswer({ events }: Generation): Promise<Answer> {
  const tokens: GeneratedToken[] = [];
  let result: GenerationResult | undefined;
  try {
    for await (const event of events) {
      assert.equal(result, undefined, 'nothing comes after the end');
      if (event.kind === 'token') tokens.push(event.token);
      else result = event.result;
    }
    assert.ok(result, 'the events end with a result');
    return { tokens, result, error: undefined };
  } catch (error) {
    return { tokens, result, error };
  }
}

export function finishReason({ result, error }: Answer): FinishReason {
  assert.equal(error, undefined, String(error));
  return result!.finishReason;
}

/** A source with the local adapters under other ids, `copy-of/x` is the folder `x`, and with revisions where a test says so. */
class CopyingHub {
  revision: string | undefined;
  fetchCount = 0;
  /** Fetched folders that are in use. */
  heldCount = 0;
  beforeFetch: (id: string, signal: AbortSignal) => Promise<void> | void = () => undefined;

  source(adapterRoot: string): Source {
    return {
      name: 'hub',
      locate: async (asked) => {
        const id = asked.replace(/@.*/, '');
        const folder = join(adapterRoot, id.replace('copy-of/', ''));
        const { revision } = this;
        return { source: 'hub', id, revision, fetch: ({ signal }) => this.#fetch(id, folder, adapterRoot, signal) };
      },
      list: async () => [],
    };
  }

  async #fetch(id: string, folder: string, root: string, signal: AbortSignal): Promise<ResolvedFolder> {
    this.fetchCount++;
    await this.beforeFetch(id, signal);
    this.heldCount++;
    return { folder, root, byteLength: 1000, release: () => void this.heldCount-- };
  }
}
