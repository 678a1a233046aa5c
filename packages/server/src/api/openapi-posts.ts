/** The routes that take a body, as the OpenAPI document tells them: one row a route, with the schemas that check it. */

import { z } from '@hono/zod-openapi';
import {
  AdapterSummary,
  LoadAdapterRequest,
  LoadLoraRequest,
  LoraError,
  UnloadLoraRequest,
} from './schemas/adapters.ts';
import { ChatChunk, ChatRequest, ChatResponse } from './schemas/chat.ts';
import { CompletionRequest, CompletionResponse } from './schemas/completions.ts';
import {
  CompatGenerateRequest,
  GenerateRequest,
  GenerateResponse,
  NativeError,
  StreamResponse,
} from './schemas/native.ts';
import { OpenAiError } from './schemas/openai.ts';
import { TokenizeRequest, TokenizeResponse } from './schemas/tokenize.ts';

export interface PostRoute {
  readonly path: string;
  readonly summary: string;
  readonly body: z.ZodType;
  /** The whole answer. */
  readonly json?: z.ZodType;
  /** One event of the stream. */
  readonly event?: z.ZodType;
  /** Plain text. */
  readonly text?: true;
  readonly error: z.ZodType;
}

export const POST_ROUTES: readonly PostRoute[] = [
  {
    path: '/generate',
    summary: 'Generate text',
    body: GenerateRequest,
    json: GenerateResponse,
    error: NativeError,
  },
  {
    path: '/generate_stream',
    summary: 'Generate text as a stream',
    body: GenerateRequest,
    event: StreamResponse,
    error: NativeError,
  },
  ...['/', '/invocations'].map((path) => ({
    path,
    summary: 'Generate text; `stream` chooses the form of the answer',
    body: CompatGenerateRequest,
    json: z.array(GenerateResponse).length(1),
    event: StreamResponse,
    error: NativeError,
  })),
  {
    path: '/v1/completions',
    summary: "Complete prompts, in OpenAI's form",
    body: CompletionRequest,
    json: CompletionResponse,
    event: CompletionResponse,
    error: OpenAiError,
  },
  {
    path: '/v1/chat/completions',
    summary: "Answer a conversation, in OpenAI's form",
    body: ChatRequest,
    json: ChatResponse,
    event: ChatChunk,
    error: OpenAiError,
  },
  {
    path: '/tokenize',
    summary: 'The tokens of a text',
    body: TokenizeRequest,
    json: TokenizeResponse,
    error: NativeError,
  },
  {
    path: '/v1/adapters',
    summary: 'Load an adapter ahead of its requests; answers when it is resident',
    body: LoadAdapterRequest,
    json: AdapterSummary,
    error: OpenAiError,
  },
  {
    path: '/v1/load_lora_adapter',
    summary: 'Load an adapter under a name, as vLLM does',
    body: LoadLoraRequest,
    text: true,
    error: LoraError,
  },
  {
    path: '/v1/unload_lora_adapter',
    summary: 'Unload the adapter of a name, as vLLM does',
    body: UnloadLoraRequest,
    text: true,
    error: LoraError,
  },
];
