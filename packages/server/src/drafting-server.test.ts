import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, afterEach, before, describe, it } from 'node:test';
import { liveHandles } from './base/handles.ts';
import type { RunningServer, StartDependencies } from './cli/composition.ts';
import { readServe } from './config/testing.ts';
import { startServer } from './server.ts';
import { createLogger } from './telemetry/log.ts';
import { type TinyHeadsOptions, writeTinyHeads } from './testing/tiny-heads.ts';
import { makeTinyModel, writeTinyModel } from './testing/tiny-model.ts';

const root = mkdtempSync(join(tmpdir(), 'lorax-drafting-'));
const model = join(root, 'tiny');

const deps: StartDependencies = {
  log: createLogger({ level: 'silent', json: true }),
  progress: { start: () => ({ advance: () => undefined, done: () => undefined }) },
  signal: new AbortController().signal,
};

const adapterRoot = join(root, 'adapters');
const HEADS: Readonly<Record<string, TinyHeadsOptions>> = {
  three: { headCount: 3, version: 2 },
  two: { headCount: 2, version: 2 },
  old: { headCount: 3, version: 1 },
};

before(() => {
  const tiny = makeTinyModel();
  writeTinyModel(model, tiny);
  for (const [name, options] of Object.entries(HEADS)) writeTinyHeads(join(adapterRoot, name), tiny, options);
});
after(() => rmSync(root, { recursive: true }));
afterEach(() => assert.deepEqual(liveHandles(), {}));

async function serving(flags: readonly string[], use: (server: RunningServer) => Promise<void>): Promise<void> {
  const always = ['--model-id', model, '--adapter-root', adapterRoot, '--port', '0', '--threads', '1'];
  const env = { HF_HOME: join(root, 'cache'), HF_HUB_OFFLINE: '1' };
  const server = await startServer(readServe([...always, '--dtype', 'float32', ...flags], env).options, deps);
  try {
    await use(server);
  } finally {
    await server.close();
  }
}

function post(server: RunningServer, path: string, body: object): Promise<Response> {
  const headers = { 'content-type': 'application/json' };
  return fetch(`${server.url}${path}`, { method: 'POST', headers, body: JSON.stringify(body) });
}

/** The tiny model soon repeats itself, so that looking back finds what follows. */
const PARAMETERS = { max_new_tokens: 100, ignore_eos_token: true, details: true };

interface Details {
  readonly generated_tokens: number;
  readonly skipped_tokens: number;
  readonly tokens: readonly { readonly id: number; readonly skipped: boolean }[];
}

interface Generated {
  readonly skippedHeader: number;
  readonly details: Details;
}

async function generate(server: RunningServer, parameters: object = {}): Promise<Generated> {
  const body = { inputs: 'The cat had', parameters: { ...PARAMETERS, ...parameters } };
  const response = await post(server, '/generate', body);
  assert.equal(response.status, 200);
  const { details } = (await response.json()) as { details: Details };
  return { skippedHeader: Number(response.headers.get('x-skipped-tokens')), details };
}

const skippedOf = ({ tokens }: Pick<Details, 'tokens'>): number => tokens.filter(({ skipped }) => skipped).length;

interface StreamEvent {
  readonly token: Details['tokens'][number];
  readonly details: Pick<Details, 'skipped_tokens'> | null;
}

/** Value of a series as `/metrics` shows it. */
async function metric(server: RunningServer, series: string): Promise<number> {
  const text = await (await fetch(`${server.url}/metrics`)).text();
  const line = text.split('\n').find((each) => each.startsWith(`${series} `));
  assert.ok(line !== undefined, series);
  return Number(line.slice(series.length));
}

describe('a server that drafts', () => {
  it('reports what came from drafts, whole and as a stream', async () => {
    await serving(['--speculative-tokens', '4'], async (server) => {
      const { skippedHeader, details } = await generate(server);
      assert.ok(details.skipped_tokens > 0, 'some tokens came from drafts');
      assert.equal(skippedOf(details), details.skipped_tokens);
      assert.equal(skippedHeader, details.skipped_tokens);

      const stream = await post(server, '/generate_stream', { inputs: 'The cat had', parameters: PARAMETERS });
      const events = (await stream.text())
        .split('\n\n')
        .filter((event) => event.startsWith('data: '))
        .map((event) => JSON.parse(event.slice('data: '.length)) as StreamEvent);
      const tokens = events.map(({ token }) => token);
      assert.deepEqual(
        tokens.map(({ id }) => id),
        details.tokens.map(({ id }) => id),
      );
      assert.equal(events.at(-1)!.details!.skipped_tokens, skippedOf({ tokens }));
    });
  });

  it('counts the skipped tokens of every sequence of a request', async () => {
    await serving(['--speculative-tokens', '4'], async (server) => {
      const request = {
        model: '',
        prompt: 'The cat had',
        max_tokens: 100,
        ignore_eos_token: true,
        n: 2,
        temperature: 0.05,
      };
      const response = await post(server, '/v1/completions', request);
      assert.equal(response.status, 200);
      const skipped = Number(response.headers.get('x-skipped-tokens'));
      assert.equal(await metric(server, 'lorax_request_skipped_tokens_sum'), skipped);
      assert.equal(await metric(server, 'lorax_request_skipped_tokens_count'), 2);

      const best = await generate(server, { best_of: 2, temperature: 0.05 });
      assert.equal(best.skippedHeader, best.details.skipped_tokens);
      const others = (best.details as Details & { best_of_sequences: readonly Details[] }).best_of_sequences;
      const all = skipped + best.details.skipped_tokens + others.reduce((sum, each) => sum + skippedOf(each), 0);
      assert.ok(all > 0, 'some tokens came from drafts');
      assert.equal(await metric(server, 'lorax_request_skipped_tokens_sum'), all);
    });
  });

  it('counts drafts by place and adapter', async () => {
    await serving(['--speculative-tokens', '2'], async (server) => {
      const { details } = await generate(server);
      const series = (name: string, place: number) => metric(server, `${name}{adapter="base",place="${place}"}`);
      const drafted = [1, 2].map((place) => series('lorax_draft_tokens_drafted_total', place));
      const accepted = [1, 2].map((place) => series('lorax_draft_tokens_accepted_total', place));
      const [[drafted1, drafted2], [accepted1, accepted2]] = await Promise.all([
        Promise.all(drafted),
        Promise.all(accepted),
      ]);
      assert.equal(accepted1! + accepted2!, details.skipped_tokens);
      assert.ok(drafted1! >= drafted2! && drafted1! >= accepted1! && accepted1! >= accepted2!);
      assert.equal(await metric(server, 'lorax_draft_steps_total'), drafted1);
      assert.equal(await metric(server, 'lorax_drafts_verified_total{adapter="base"}'), drafted1);
    });
  });

  it('drafts as a request wants it, and says what it does by itself', async () => {
    await serving([], async (server) => {
      const plain = await generate(server);
      assert.equal(plain.details.skipped_tokens, 0);
      const drafted = await generate(server, { speculation: { mode: 'ngram', tokens: 3 } });
      assert.ok(drafted.details.skipped_tokens > 0);
      const ids = ({ details }: Generated) => details.tokens.map(({ id }) => id);
      assert.deepEqual(ids(drafted), ids(plain));
      const headless = await post(server, '/v1/completions', {
        model: '',
        prompt: 'a',
        speculation: { mode: 'medusa' },
      });
      assert.equal(headless.status, 422);
      const { speculation } = (await (await fetch(`${server.url}/info`)).json()) as { speculation: object };
      const nothing = { default_heads: null, strict_heads: false, max_batch_size: null };
      assert.deepEqual(speculation, { ...nothing, speculative_tokens: 0, candidates: 4 });
    });
  });

  it('drafts nothing where a request wants nothing', async () => {
    await serving(['--speculative-tokens', '4'], async (server) => {
      const { details } = await generate(server, { speculation: { mode: 'off' } });
      assert.equal(details.skipped_tokens, 0);
      assert.equal(await metric(server, 'lorax_draft_steps_total'), 0);
    });
  });
});

/** What the server says against an adapter; undefined where it answers. */
async function refusal(server: RunningServer, adapterId: string, mode = 'auto'): Promise<string | undefined> {
  const parameters = { max_new_tokens: 4, adapter_id: adapterId, speculation: { mode } };
  const response = await post(server, '/generate', { inputs: 'The cat had', parameters });
  const { error } = (await response.json()) as { error?: string };
  assert.equal(response.status, error === undefined ? 200 : 422);
  return error;
}

describe('a server with Medusa heads', () => {
  it('drafts with the default heads and with those of a request, and answers the same', async () => {
    await serving(['--adapter-id', 'three'], async (server) => {
      const plain = await generate(server, { speculation: { mode: 'off' } });
      for (const adapter_id of [undefined, 'three', 'two']) {
        const drafted = await generate(server, { adapter_id });
        assert.deepEqual(
          drafted.details.tokens.map(({ id }) => id),
          plain.details.tokens.map(({ id }) => id),
        );
      }
      assert.ok((await metric(server, 'lorax_draft_heads_duration_count')) > 0);
    });
  });

  it('looks back beside heads, unless a request wants them alone', async () => {
    await serving(['--adapter-id', 'three'], async (server) => {
      const { details } = await generate(server, { speculation: { tokens: 2 } });
      assert.ok(details.skipped_tokens > 0, 'random heads are hardly ever right');
      assert.equal(skippedOf(details), details.skipped_tokens);
      const series = (place: number) => `lorax_draft_tokens_accepted_total{adapter="base",place="${place}"}`;
      const accepted = await Promise.all([1, 2].map((place) => metric(server, series(place))));
      assert.equal(accepted[0]! + accepted[1]!, details.skipped_tokens);
      const alone = await generate(server, { speculation: { mode: 'medusa', tokens: 2 } });
      assert.ok(alone.details.skipped_tokens < details.skipped_tokens);
    });
  });

  it('says which heads are the default ones', async () => {
    await serving(
      ['--adapter-id', 'three', '--strict-medusa-heads', '--speculation-max-batch-size', '9'],
      async (server) => {
        const { speculation } = (await (await fetch(`${server.url}/info`)).json()) as {
          speculation: { default_heads: { adapter_generation: string } };
        };
        const { adapter_generation } = speculation.default_heads;
        assert.match(adapter_generation, /^[0-9a-f]{8,}/);
        assert.deepEqual(speculation, {
          default_heads: { adapter_id: 'three', adapter_generation, head_count: 3, version: 2 },
          ...{ strict_heads: true, speculative_tokens: 0, candidates: 4, max_batch_size: 9 },
        });
      },
    );
  });

  it('refuses the heads that LoRAX refuses, and only where they would be used', async () => {
    await serving([], async (server) => {
      assert.match((await refusal(server, 'three')) ?? '', /`three` .*default/);
      assert.equal(await refusal(server, 'three', 'off'), undefined);
    });
    await serving(['--adapter-id', 'three', '--strict-medusa-heads'], async (server) => {
      assert.match((await refusal(server, 'old')) ?? '', /version 1/);
      assert.match((await refusal(server, 'two')) ?? '', /are 2, the default ones 3/);
      assert.equal(await refusal(server, 'two', 'ngram'), undefined);
      assert.equal(await refusal(server, 'three'), undefined);
    });
    await serving(['--adapter-id', 'old'], async (server) => {
      assert.equal(await refusal(server, 'old'), undefined);
      assert.equal(await refusal(server, 'two'), undefined);
    });
  });
});
