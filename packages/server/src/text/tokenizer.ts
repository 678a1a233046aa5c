/** What the server asks of a tokenizer. Implemented by `hf-tokenizer.ts`; knows nothing about models or requests. */

export interface TokenSpan {
  readonly id: number;
  /** The vocabulary's own spelling (`Ġthe`, `▁the`). */
  readonly piece: string;
  /** Character offsets into the text, end exclusive. */
  readonly start: number;
  readonly stop: number;
}

export interface DecodeOptions {
  readonly skipSpecialTokens: boolean;
}

export interface Tokenizer {
  readonly vocabSize: number;
  /** Ids that the tokenizer's own configuration calls end of sequence. */
  readonly eosTokenIds: readonly number[];
  readonly hasChatTemplate: boolean;
  /** Long texts are tokenised in a worker, so that the event loop stays free. */
  encode(text: string, addSpecialTokens: boolean, signal?: AbortSignal): Promise<number[]>;
  /** Tokens with their offsets into the text, for `/tokenize`. */
  spans(text: string, addSpecialTokens: boolean, signal?: AbortSignal): Promise<TokenSpan[]>;
  /** Synchronous: it runs once per generated token. */
  decode(ids: readonly number[], options: DecodeOptions): string;
  isSpecial(id: number): boolean;
  /** Renders the chat template in a worker under a deadline; a `TEMPLATE` error says why it failed. */
  renderChat(chat: ChatInput, signal?: AbortSignal): Promise<string>;
  dispose(): Promise<void>;
}

export interface ChatMessage {
  readonly role: string;
  readonly content: string;
  readonly [extra: string]: unknown;
}

export interface ChatInput {
  readonly messages: readonly ChatMessage[];
  readonly addGenerationPrompt: boolean;
  /** Further template variables (`tools`, `documents`, ...). */
  readonly variables?: Readonly<Record<string, unknown>>;
}
