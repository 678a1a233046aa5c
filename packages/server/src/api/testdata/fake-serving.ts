/**
 * A serving whose model repeats its prompt, word by word, and then says EOS. Deterministic: log-probabilities follow from
 * seed and position. Tests hook into it to delay or fail a token, and see every request with its signal.
 */

import type { AdapterChoice } from '../../base/adapter-reference.ts';
import { Channel } from '../../base/channel.ts';
import { isSampling } from '../../engine/sampling/params.ts';
import type {
  FinishReason,
  GeneratedToken,
  Generation,
  GenerationEvent,
  GenerationRequest,
  Generator,
  PromptToken,
  RequestPrompt,
} from '../../scheduler/request.ts';
import type { Tokenizer } from '../../text/tokenizer.ts';
import { StopStringMatcher } from '../../text/stop-strings.ts';
import type { Serving, ServingLimits } from '../serving.ts';
import { FakeAdapters } from './fake-adapters.ts';

const EOS_ID = 2;
const VOCAB_SIZE = 1000;
const TIMES = { validationMs: 1, queueMs: 2, inferenceMs: 30, timeToFirstTokenMs: 10 };

export interface FakeHooks {
  /** Before the generation is handed over. */
  accept?(request: GenerationRequest, signal: AbortSignal): unknown;
  /** Before token `index`. */
  token?(index: number, request: GenerationRequest, signal: AbortSignal): unknown;
  /** The end comes a while after the last token instead of with it. */
  readonly lateEnd?: boolean;
}

export class FakeGenerator implements Generator {
  hooks: FakeHooks = {};
  readonly calls: { readonly request: GenerationRequest; readonly signal: AbortSignal }[] = [];
  /** Tokens that were made, over all requests. */
  tokenCount = 0;

  async generate(request: GenerationRequest, signal: AbortSignal): Promise<Generation> {
    this.calls.push({ request, signal });
    await this.hooks.accept?.(request, signal);
    signal.throwIfAborted();
    const promptText = textOf(request.prompt);
    const words = wordsOf(promptText);
    const events = new Channel<GenerationEvent>();
    signal.addEventListener('abort', () => events.fail(signal.reason), { once: true });
    this.#run(request, signal, words, events).catch((error: unknown) => events.fail(error));
    return {
      promptTokens: words.length,
      promptText,
      adapterGeneration: request.adapter && generationOf(request.adapter),
      prompt: request.promptLogprobs ? words.map(promptToken) : [],
      events,
    };
  }

  async #run(
    request: GenerationRequest,
    signal: AbortSignal,
    words: readonly string[],
    events: Channel<GenerationEvent>,
  ): Promise<void> {
    const limit = request.maxNewTokens ?? 64;
    const stop = new StopStringMatcher(request.stop);
    let text = '';
    let finishReason: FinishReason | undefined = limit === 0 ? 'length' : undefined;
    let count = 0;
    while (finishReason === undefined) {
      await this.hooks.token?.(count, request, signal);
      if (signal.aborted) return;
      const token = this.#token(request, words, count++);
      this.tokenCount++;
      events.send({ kind: 'token', token });
      const progress = stop.push(token.special ? '' : token.text);
      text += progress.inclusive;
      if (count >= limit) finishReason = 'length';
      if (token.id === EOS_ID && !request.ignoreEos) finishReason = 'eos_token';
      if (progress.stop !== undefined) finishReason = 'stop_sequence';
    }
    if (this.hooks.lateEnd) await new Promise((resolve) => setTimeout(resolve, 5));
    const seed = isSampling(request.sampling) ? request.sampling.seed : undefined;
    const result = { finishReason, text, generatedTokens: count, skippedTokens: 0, seed };
    events.send({ kind: 'end', result, times: TIMES });
    events.end();
  }

  #token({ sampling, alternatives, ignoreEos }: GenerationRequest, words: readonly string[], index: number): GeneratedToken {
    const eos = index % (words.length + 1) === words.length;
    const text = eos && !ignoreEos ? '</s>' : (words[index % words.length] ?? '');
    const seed = isSampling(sampling) ? Number(sampling.seed % 97n) : 0;
    const logprob = -(1 + ((seed * 31 + index * 7) % 10)) / 10;
    const token = { id: eos ? EOS_ID : 10 + index, text, logprob, special: text === '</s>', skipped: false };
    if (alternatives === 0) return token;
    const others = Array.from({ length: alternatives }, (_, at) => ({ id: 500 + at, text: ` alt${at}`, logprob: -at - 0.5 }));
    return { ...token, alternatives: others };
  }
}

function generationOf(adapter: AdapterChoice): string {
  return 'members' in adapter ? `gen-merge-of-${adapter.members.length}` : `gen-${adapter.id.length}`;
}

function textOf(prompt: RequestPrompt): string {
  if ('text' in prompt) return prompt.text;
  if ('tokens' in prompt) return prompt.tokens.map((id) => ` t${id}`).join('');
  return prompt.chat.messages.map(({ role, content }) => `[${role}] ${content}`).join(' ').trim();
}

function wordsOf(text: string): string[] {
  return text.match(/\s*\S+\s*$|\s*\S+|\s+/g) ?? [];
}

function promptToken(text: string, index: number): PromptToken {
  return { id: 100 + index, text, logprob: index === 0 ? null : -index };
}

export const fakeTokenizer: Tokenizer = {
  vocabSize: VOCAB_SIZE,
  eosTokenIds: [EOS_ID],
  hasChatTemplate: true,
  encode: async (text) => wordsOf(text).map((_, index) => index),
  spans: async (text, addSpecialTokens) => [
    ...(addSpecialTokens ? [{ id: 1, piece: '<s>', start: 0, stop: 0 }] : []),
    ...wordsOf(text).map((piece, index) => ({ id: 10 + index, piece, start: 0, stop: piece.length })),
  ],
  decode: (ids) => ids.map((id) => ` t${id}`).join(''),
  isSpecial: (id) => id === EOS_ID,
  renderChat: async (chat) => textOf({ chat }),
  dispose: async () => undefined,
};

export const FAKE_LIMITS: ServingLimits = {
  maxBestOf: 4,
  maxSequences: 8,
  maxStopSequences: 4,
  maxInputLength: 100,
  maxTotalTokens: 200,
  maxAlternatives: 5,
  maxBodyBytes: 64 * 1024,
};

export interface FakeServing extends Serving {
  readonly generator: FakeGenerator;
  readonly adapters: FakeAdapters;
}

export function fakeServing(overrides: Partial<Serving> = {}): FakeServing {
  return {
    tokenizer: fakeTokenizer,
    limits: FAKE_LIMITS,
    model: { id: 'demo/base', dtype: 'bfloat16', device: 'cpu', type: 'llama', createdAt: 1_700_000_000 },
    defaultAdapterSource: 'local',
    hasBareBase: true,
    defaultAdapter: undefined,
    info: () => ({ model_id: 'demo/base', max_total_tokens: FAKE_LIMITS.maxTotalTokens }),
    listAdapters: () => [{ id: 'org/poet', source: 'local', generation: 'abc123', createdAt: 1_700_000_100 }],
    checkHealth: () => Promise.resolve(),
    ...overrides,
    adapters: (overrides.adapters as FakeAdapters | undefined) ?? new FakeAdapters(),
    generator: (overrides.generator as FakeGenerator | undefined) ?? new FakeGenerator(),
  };
}
