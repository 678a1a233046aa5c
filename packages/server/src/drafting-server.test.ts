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
import { makeTinyModel, writeTinyModel } from './testing/tiny-model.ts';

const root = mkdtempSync(join(tmpdir(), 'lorax-drafting-'));
const model = join(root, 'tiny');

const deps: StartDependencies = {
  log: createLogger({ level: 'silent', json: true }),
  progress: { start: () => ({ advance: () => undefined, done: () => undefined }) },
  signal: new AbortController().signal,
};

before(() => writeTinyModel(model, makeTinyModel()));
after(() => rmSync(root, { recursive: true }));
afterEach(() => assert.deepEqual(liveHandles(), {}));

async function serving(flags: readonly string[], use: (server: RunningServer) => Promise<void>): Promise<void> {
  const always = ['--model-id', model, '--port', '0', '--threads', '1', '--dtype', 'float32'];
  const env = { HF_HOME: join(root, 'cache'), HF_HUB_OFFLINE: '1' };
  const server = await startServer(readServe([...always, ...flags], env).options, deps);
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
      assert.deepEqual(speculation, { ...nothing, speculative_tokens: 0, candidates: 1 });
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
