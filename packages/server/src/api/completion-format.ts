/** Text and log-probabilities of one `/v1/completions` choice, whole or in pieces. */

import type { z } from '@hono/zod-openapi';
import type { GeneratedToken, Generation, PromptToken } from '../scheduler/request.ts';
import type { Piece, StopReason } from './choice-text.ts';
import { characterCount } from './headers.ts';
import type { ChoiceFormat } from './openai-stream.ts';
import type { CompletionChoice } from './schemas/completions.ts';
import { finiteLogprob } from './logprob.ts';

export interface CompletionOptions {
  readonly echo: boolean;
  /** Alternatives per token; undefined is no log-probabilities at all. */
  readonly logprobs: number | undefined;
}

type Choice = z.infer<typeof CompletionChoice>;
type Logprobs = NonNullable<Choice['logprobs']>;

export class CompletionChoiceFormat implements ChoiceFormat {
  readonly #index: number;
  readonly #options: CompletionOptions;
  /** Where the next token begins in the choice's text, in characters (code points). */
  #offset = 0;

  constructor(index: number, options: CompletionOptions) {
    this.#index = index;
    this.#options = options;
  }

  /** The prompt, where it is to be echoed. */
  opening({ prompt, promptText }: Generation): Choice | undefined {
    if (!this.#options.echo) return undefined;
    return this.#choice(promptText, this.#promptLogprobs(prompt, promptText), null);
  }

  piece({ text, tokens }: Piece): Choice {
    return this.#choice(text, this.#logprobs(tokens), null);
  }

  ending(finishReason: StopReason): Choice {
    return this.#choice('', null, finishReason);
  }

  /** Opening, text and ending in one. */
  whole(generation: Generation, piece: Piece, finishReason: StopReason): Choice {
    const opening = this.opening(generation);
    const { text, logprobs } = this.piece(piece);
    return this.#choice((opening?.text ?? '') + text, joined(opening?.logprobs, logprobs), finishReason);
  }

  #choice(text: string, logprobs: Logprobs | null, finish_reason: StopReason | null): Choice {
    return { index: this.#index, text, logprobs, finish_reason };
  }

  #logprobs(tokens: readonly GeneratedToken[]): Logprobs | null {
    const { logprobs } = this.#options;
    if (logprobs === undefined) return null;
    return {
      tokens: tokens.map(({ text }) => text),
      token_logprobs: tokens.map(({ logprob }) => finiteLogprob(logprob)),
      top_logprobs: logprobs === 0 ? null : tokens.map(topLogprobs),
      text_offset: tokens.map(({ text }) => this.#advance(text)),
    };
  }

  /** Nothing ranks alternatives for the prompt's tokens, so their `top_logprobs` are null. */
  #promptLogprobs(prompt: readonly PromptToken[], promptText: string): Logprobs | null {
    const { logprobs } = this.#options;
    if (logprobs === undefined) return null;
    let position = 0;
    const text_offset = prompt.map(({ text }) => {
      // A BOS that the tokenizer added is a token without a place in the text.
      if (!promptText.startsWith(text, position)) return this.#offset;
      position += text.length;
      return this.#advance(text);
    });
    this.#offset = characterCount(promptText);
    return {
      tokens: prompt.map(({ text }) => text),
      token_logprobs: prompt.map(({ logprob }) => (logprob === null ? null : finiteLogprob(logprob))),
      top_logprobs: logprobs === 0 ? null : prompt.map(() => null),
      text_offset,
    };
  }

  #advance(text: string): number {
    const offset = this.#offset;
    this.#offset += characterCount(text);
    return offset;
  }
}

/** The chosen token is always among them, as with OpenAI: up to one more than was asked for. */
function topLogprobs({ text, logprob, alternatives = [] }: GeneratedToken): Record<string, number> {
  const top = new Map<string, number>();
  for (const alternative of [{ text, logprob }, ...alternatives]) {
    const known = top.get(alternative.text) ?? Number.NEGATIVE_INFINITY;
    top.set(alternative.text, finiteLogprob(Math.max(known, alternative.logprob)));
  }
  return Object.fromEntries(top);
}

function joined(a: Logprobs | null | undefined, b: Logprobs | null): Logprobs | null {
  if (a == null || b === null) return b;
  return {
    tokens: [...a.tokens, ...b.tokens],
    token_logprobs: [...a.token_logprobs, ...b.token_logprobs],
    top_logprobs: a.top_logprobs && b.top_logprobs && [...a.top_logprobs, ...b.top_logprobs],
    text_offset: [...a.text_offset, ...b.text_offset],
  };
}
