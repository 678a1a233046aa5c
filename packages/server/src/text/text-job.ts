/** The messages between the server and a text worker. */
import type { RenderJob } from './chat-template.ts';
import type { CodecRef } from './codec-source.ts';
import type { DecodeTable } from './token-decoder.ts';
import type { SettingsFiles, TokenizerSettings } from './tokenizer-files.ts';
import type { TokenSpan } from './tokenizer.ts';

interface EncodeJob {
  readonly codec: CodecRef;
  readonly text: string;
  readonly addSpecialTokens: boolean;
}

/** What a stranger's tokenizer is, once a worker has read it. */
export interface CodecDescription {
  readonly table: DecodeTable;
  /** Undefined where the vocabulary does not know it. */
  readonly eosTokenId: number | undefined;
}

/** What each kind of job takes and gives. */
export interface TextJobs {
  readonly encode: { readonly input: EncodeJob; readonly output: Uint32Array };
  readonly spans: { readonly input: EncodeJob; readonly output: TokenSpan[] };
  readonly render: { readonly input: RenderJob; readonly output: string };
  readonly settings: { readonly input: SettingsFiles; readonly output: TokenizerSettings };
  readonly describe: { readonly input: { readonly codec: CodecRef }; readonly output: CodecDescription };
}

export type TextJobKind = keyof TextJobs;

export type TextJob = {
  readonly [K in TextJobKind]: { readonly kind: K; readonly input: TextJobs[K]['input'] };
}[TextJobKind];

export type TextReply =
  | { readonly kind: 'ready' }
  /** The job names a codec that the worker does not have: it wants the job again, with the source. */
  | { readonly kind: 'missing' }
  | { readonly kind: 'done'; readonly output: TextJobs[TextJobKind]['output'] }
  | { readonly kind: 'failed'; readonly message: string };
