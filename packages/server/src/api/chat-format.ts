/** Messages, deltas and log-probabilities of one `/v1/chat/completions` choice. */

import type { z } from '@hono/zod-openapi';
import type { GeneratedToken } from '../scheduler/request.ts';
import type { Piece, StopReason } from './choice-text.ts';
import { finiteLogprob } from './logprob.ts';
import type { ChoiceFormat } from './openai-stream.ts';
import type { ChatChunk, ChatResponse } from './schemas/chat.ts';

type Choice = z.infer<typeof ChatResponse>['choices'][number];
type ChunkChoice = z.infer<typeof ChatChunk>['choices'][number];

export class ChatChoiceFormat implements ChoiceFormat {
  readonly #index: number;
  readonly #logprobs: boolean;

  constructor(index: number, logprobs: boolean) {
    this.#index = index;
    this.#logprobs = logprobs;
  }

  /** The role: in the first delta of the choice and in no other. */
  opening(): ChunkChoice {
    return this.#chunk({ role: 'assistant', content: '' }, null);
  }

  piece(piece: Piece): ChunkChoice {
    return { ...this.#chunk({ content: piece.text }, null), logprobs: this.#logprobsOf(piece) };
  }

  ending(finishReason: StopReason): ChunkChoice {
    return this.#chunk({}, finishReason);
  }

  whole(piece: Piece, finishReason: StopReason): Choice {
    return {
      index: this.#index,
      message: { role: 'assistant', content: piece.text, refusal: null },
      logprobs: this.#logprobsOf(piece),
      finish_reason: finishReason,
    };
  }

  #chunk(delta: ChunkChoice['delta'], finish_reason: StopReason | null): ChunkChoice {
    return { index: this.#index, delta, logprobs: null, finish_reason };
  }

  #logprobsOf({ tokens }: Piece): Choice['logprobs'] {
    return this.#logprobs ? { content: tokens.map(tokenLogprobs), refusal: null } : null;
  }
}

function tokenLogprobs({ alternatives = [], ...token }: GeneratedToken) {
  return { ...tokenLogprob(token), top_logprobs: alternatives.map(tokenLogprob) };
}

function tokenLogprob({ text, logprob }: { readonly text: string; readonly logprob: number }) {
  return { token: text, logprob: finiteLogprob(logprob), bytes: [...Buffer.from(text)] };
}
