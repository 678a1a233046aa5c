/**
 * From what a caller sent to the tokens that the model reads, with the tokenizer that belongs to the request's adapter.
 * Checks everything that can be wrong with a prompt. Knows neither adapters nor the queue.
 */

import { invalidField } from '../base/errors.ts';
import type { ChatInput, Tokenizer } from '../text/tokenizer.ts';
import type { GenerationRequest } from './request.ts';

export interface PromptLimits {
  /** Prompt tokens. */
  readonly maxInputLength: number;
  readonly vocabSize: number;
}

export interface ReadPrompt {
  readonly ids: readonly number[];
  /** After truncation. */
  readonly text: string;
}

interface Rendering {
  readonly tokenizer: Tokenizer;
  readonly text: Promise<string>;
}

export class PromptReader {
  readonly #limits: PromptLimits;
  /** The sequences of one call (`n`, `best_of`) share their chat, which is rendered once. */
  readonly #renderings = new WeakMap<ChatInput, Rendering>();

  constructor(limits: PromptLimits) {
    this.#limits = limits;
  }

  async read(request: GenerationRequest, tokenizer: Tokenizer, signal: AbortSignal): Promise<ReadPrompt> {
    const { prompt, addSpecialTokens, truncate } = request;
    const given = 'chat' in prompt ? { text: await this.#render(prompt.chat, tokenizer, signal) } : prompt;
    const ids = 'text' in given ? await tokenizer.encode(given.text, addSpecialTokens, signal) : [...given.tokens];
    const kept = this.#checked(ids, truncate);
    // The text itself where it was used whole; decoding would lose what the tokenizer normalises.
    const isWhole = 'text' in given && truncate === undefined;
    return { ids: kept, text: isWhole ? given.text : tokenizer.decode(kept, { skipSpecialTokens: true }) };
  }

  #render(chat: ChatInput, tokenizer: Tokenizer, signal: AbortSignal): Promise<string> {
    const known = this.#renderings.get(chat);
    if (known?.tokenizer === tokenizer) return known.text;
    const text = tokenizer.renderChat(chat, signal);
    this.#renderings.set(chat, { tokenizer, text });
    return text;
  }

  #checked(ids: readonly number[], truncate: number | undefined): readonly number[] {
    const { vocabSize, maxInputLength } = this.#limits;
    const outside = ids.find((id) => !Number.isInteger(id) || id < 0 || id >= vocabSize);
    if (outside !== undefined) throw invalidField('inputs', `has token id ${outside}, outside the vocabulary`);
    const kept = truncate === undefined ? ids : ids.slice(-truncate);
    if (kept.length === 0) throw invalidField('inputs', 'must not be empty');
    if (kept.length > maxInputLength) {
      throw invalidField('inputs', `has ${kept.length} tokens; at most ${maxInputLength} are allowed`);
    }
    return kept;
  }
}
