/**
 * Runs `serve` or `generate` in a process of its own over a fake server or engine, so that signals and exit codes can be
 * tested without a model. Arguments: the command, then the scenario. What the fakes see goes to stderr.
 */

import { createServer } from 'node:net';

import { readServe } from '../../config/testing.ts';
import type { GenerateOptions } from '../../config/generate-options.ts';
import type { Generation, GenerationEvent, Generator } from '../../scheduler/request.ts';
import type { Composition } from '../composition.ts';
import { endingOf } from '../exit.ts';
import { generate } from '../generate.ts';
import { serve } from '../serve.ts';

const [command, scenario] = process.argv.slice(2);
const say = (text: string) => void process.stderr.write(`${text}\n`);
const forever = new Promise<never>(() => {});
// Stands for the listening socket: something that keeps the process alive.
const alive = setInterval(() => {}, 60_000);

const startServer: Composition['startServer'] = async (_options, { signal }) => {
  if (scenario === 'port-in-use') await listenTwice();
  if (scenario === 'slow-start') {
    say('starting');
    await new Promise((_, reject) => signal.addEventListener('abort', () => reject(new Error('aborted'))));
  }
  const close = async () => {
    say('draining');
    if (scenario === 'slow-drain') await forever;
    say('drained');
  };
  return { url: 'http://127.0.0.1:1', adapters: ['one'], modelId: 'fake', close };
};

async function listenTwice(): Promise<void> {
  const first = createServer().unref().listen(0, '127.0.0.1');
  await new Promise((resolve) => first.once('listening', resolve));
  const address = first.address();
  const port = typeof address === 'object' ? address?.port : undefined;
  await new Promise((_, reject) => createServer().once('error', reject).listen(port, '127.0.0.1'));
}

async function* events(signal: AbortSignal): AsyncGenerator<GenerationEvent, void, undefined> {
  const token = { id: 1, logprob: 0, skipped: false };
  for (const text of ['Hello', ' wörld']) yield { kind: 'token', token: { ...token, text, special: false } };
  if (scenario === 'endless') {
    await new Promise((_, reject) => signal.addEventListener('abort', () => reject(new Error('aborted'))));
  }
  yield { kind: 'token', token: { ...token, text: '</s>', special: true } };
  const result = { finishReason: 'eos_token', text: '', generatedTokens: 3, skippedTokens: 0, seed: 7n } as const;
  yield { kind: 'end', result, times: { validationMs: 0, queueMs: 0, inferenceMs: 1500, timeToFirstTokenMs: 0 } };
}

const generator: Generator = {
  generate: (request, signal): Promise<Generation> => {
    say(`prompt ${JSON.stringify(request.prompt)}`);
    const rest = { promptTokens: 4, promptText: '', adapterGeneration: undefined, prompt: [] };
    return Promise.resolve({ ...rest, events: events(signal) });
  },
};

const loadEngine: Composition['loadEngine'] = () =>
  Promise.resolve({ generator, dispose: () => Promise.resolve(say('disposed')) });

const WANTED: GenerateOptions = {
  prompt: '-',
  maxNewTokens: 3,
  stop: [],
  ignoreEosToken: false,
  temperature: undefined,
  topK: undefined,
  topP: undefined,
  typicalP: undefined,
  repetitionPenalty: 1,
  frequencyPenalty: 0,
  presencePenalty: 0,
  seed: 7n,
  speculation: 'auto',
  speculationTokens: undefined,
};

async function run(): Promise<number> {
  if (command === 'generate') {
    const { options } = readServe(['--demo', '--log-level', 'silent']);
    return await generate(options, WANTED, () => Promise.resolve({ loadEngine }));
  }
  const flags = scenario === 'json' ? ['--json-output', '--compile'] : [];
  return await serve(readServe(['--demo', '--port', '4321', ...flags]), () => Promise.resolve({ startServer }));
}

try {
  process.exitCode = await run();
} catch (error) {
  const { code, text } = endingOf(error);
  process.stderr.write(text);
  process.exitCode = code;
}
clearInterval(alive);
