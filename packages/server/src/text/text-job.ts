/** The messages between the main thread and a text worker. */
import type { RenderJob } from './chat-template.ts';
import type { TokenSpan } from './tokenizer.ts';

interface EncodeJob {
  readonly text: string;
  readonly addSpecialTokens: boolean;
}

/** What each kind of job takes and gives. */
export interface TextJobs {
  readonly encode: { readonly input: EncodeJob; readonly output: number[] };
  readonly spans: { readonly input: EncodeJob; readonly output: TokenSpan[] };
  readonly render: { readonly input: RenderJob; readonly output: string };
}

export type TextJobKind = keyof TextJobs;

export type TextJob = {
  readonly [K in TextJobKind]: { readonly kind: K; readonly input: TextJobs[K]['input'] };
}[TextJobKind];

export type TextReply =
  | { readonly kind: 'ready' }
  | { readonly kind: 'done'; readonly output: TextJobs[TextJobKind]['output'] }
  | { readonly kind: 'failed'; readonly message: string };

/** Where a worker finds the tokenizer; it opens it at its first job that needs one. */
export interface TextWorkerData {
  readonly folder: string;
  readonly overridePath: string | undefined;
}
