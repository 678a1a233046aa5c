import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { describe, test } from 'node:test';
import { liveHandles } from './base/handles.ts';
import { readServe } from './config/testing.ts';
import { GREEDY } from './engine/sampling/params.ts';
import type { AdapterReference } from './base/adapter-reference.ts';
import type { Generator } from './scheduler/request.ts';
import { loadEngine } from './server.ts';
import { createLogger } from './telemetry/log.ts';

interface ExpectedGeneration {
  readonly prompt: string;
  readonly prompt_ids: number[];
  readonly tokens: number[];
  readonly margins: number[];
}

const require = createRequire(import.meta.url);
const path = require.resolve('@lorax/demo-model/package.json').replace('package.json', 'expected.json');
const expected = JSON.parse(readFileSync(path, 'utf8')) as { models: Record<string, ExpectedGeneration[]> };

/** Logits of the demo lie within about 25 of zero; these are the conformance suite's tolerances at that size. */
const MARGINS = { float32: 25e-4, default: 5e-2 };

async function greedyTokens(generator: Generator, name: string, prompt: string, count: number): Promise<number[]> {
  const adapter: AdapterReference | undefined = name === 'base' ? undefined : { id: name, source: 'local' };
  const request = {
    prompt: { text: prompt },
    addSpecialTokens: true,
    adapter,
    sampling: GREEDY,
    maxNewTokens: count,
    stop: [],
    ignoreEos: true,
    truncate: undefined,
    promptLogprobs: false,
    alternatives: 0,
  };
  const { events } = await generator.generate(request, new AbortController().signal);
  const tokens: number[] = [];
  for await (const event of events) if (event.kind === 'token') tokens.push(event.token.id);
  return tokens;
}

/** Equal up to the first token whose margin is too small to tell. */
function assertFollows(
  tokens: readonly number[],
  { tokens: wanted, margins }: ExpectedGeneration,
  margin: number,
): void {
  const unsure = margins.findIndex((value) => value < margin);
  const length = unsure < 0 ? wanted.length : unsure;
  assert.deepEqual(tokens.slice(0, length), wanted.slice(0, length));
}

describe('the demo model and its adapters generate what transformers and PEFT generate', () => {
  for (const [label, flags, margin] of [
    ['float32', ['--dtype', 'float32'], MARGINS.float32],
    ['as served by default', [], MARGINS.default],
  ] as const) {
    test(`${label}, all at once`, async () => {
      const deps = {
        log: createLogger({ level: 'silent', json: true }),
        progress: { start: () => ({ advance: () => undefined, done: () => undefined }) },
        signal: new AbortController().signal,
      };
      const engine = await loadEngine(readServe(['--demo', ...flags]).options, deps);
      try {
        const cases = Object.entries(expected.models).flatMap(([name, runs]) => runs.map((run) => ({ name, run })));
        assert.ok(cases.length >= 24);
        await Promise.all(
          cases.map(async ({ name, run }) => {
            const tokens = await greedyTokens(engine.generator, name, run.prompt, run.tokens.length);
            assertFollows(tokens, run, margin);
          }),
        );
      } finally {
        await engine.dispose();
      }
      assert.deepEqual(liveHandles(), {});
    });
  }
});
