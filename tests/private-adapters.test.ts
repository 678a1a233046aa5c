import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { FakeHub, type HubFiles } from '#server/sources/testing/fake-hub.ts';
import { PROMPTS, QUIET_DEMO_ARGS } from './demo.ts';
import { json, post, type Reply } from './http.ts';
import { LoraxServer } from './lorax-process.ts';
import { inRepository } from './repository.ts';

const ID = 'team/secret';
const [PROMPT = ''] = PROMPTS;
const FOLDER = inRepository('packages/demo-model/adapters/pirate');
const FILES: HubFiles = Object.fromEntries(readdirSync(FOLDER).map((name) => [name, readFileSync(join(FOLDER, name))]));

/** A server that remembers for this long who may use an adapter, and its Hub. */
class PrivateHub {
  readonly authCacheMs: number;
  readonly #args: readonly string[];
  readonly #home = mkdtempSync(join(tmpdir(), 'lorax-private-'));
  #hub: FakeHub | undefined;
  #server: LoraxServer | undefined;

  constructor(authCacheMs: number, args: readonly string[] = []) {
    this.authCacheMs = authCacheMs;
    this.#args = [...QUIET_DEMO_ARGS, '--auth-cache-s', String(authCacheMs / 1000), ...args];
  }

  async start(): Promise<void> {
    this.#hub = await FakeHub.start();
    const env = { HOME: this.#home, HF_ENDPOINT: this.#hub.endpoint, HF_HUB_CACHE: join(this.#home, 'hub') };
    this.#server = await LoraxServer.start([...this.#args, '--default-adapter-source', 'hub'], { env });
  }

  async stop(): Promise<void> {
    await this.#server?.stop();
    await this.#hub?.stop();
    rmSync(this.#home, { recursive: true });
  }

  get hub(): FakeHub {
    return this.#hub!;
  }

  get log(): string {
    return this.#server!.stderr;
  }

  admit(...tokens: readonly string[]): void {
    this.hub.publish(ID, FILES, { tokens });
  }

  ask(token: string | undefined, maxNewTokens = 2): Promise<Reply> {
    const parameters = { adapter_id: ID, max_new_tokens: maxNewTokens, ignore_eos_token: true, api_token: token };
    return post(`${this.#server!.url}/generate`, { inputs: PROMPT, parameters });
  }

  /** Settles once the answers that were given until now are not remembered any more. */
  forgotten(): Promise<void> {
    return new Promise((resolve) => setTimeout(resolve, this.authCacheMs + 50));
  }
}

describe('a private adapter on the Hub', () => {
  const place = new PrivateHub(1000);
  before(() => place.start());
  after(() => place.stop());

  test('is closed to who has no access, also while it runs for another caller', async () => {
    place.admit('hf_ann');
    let isRunning = true;
    const running = place.ask('hf_ann', 150).finally(() => (isRunning = false));
    const refused: Reply[] = [];
    while (isRunning) refused.push(await place.ask('hf_bob'), await place.ask(undefined));
    assert.ok((json(await running)['generated_text'] as string).length > 0);
    assert.ok(refused.length > 2);
    for (const { status, text } of refused) {
      assert.equal(status, 403, text);
      assert.ok(!/hf_|signature/.test(text), text);
    }
    // Resident now, and remembered for who may use it.
    assert.equal((await place.ask('hf_ann')).status, 200);
    assert.equal((await place.ask('hf_bob')).status, 403);
  });

  test('is closed to a revoked token once the answer about it is too old, and open to who was admitted meanwhile', async () => {
    place.admit('hf_ann');
    await place.forgotten();
    assert.equal((await place.ask('hf_ann')).status, 200);
    place.admit('hf_bob');
    await place.forgotten();
    assert.equal((await place.ask('hf_ann')).status, 403);
    assert.equal((await place.ask('hf_bob')).status, 200);
  });

  test("is asked for with the caller's token, which no other place sees", async () => {
    place.admit('hf_ann');
    await place.forgotten();
    const seen = place.hub.requests.length;
    assert.equal((await place.ask('hf_ann')).status, 200);
    const asked = place.hub.requests.slice(seen);
    assert.ok(asked.length > 0);
    assert.ok(asked.every(({ at, authorization }) => authorization === (at === 'hub' ? 'Bearer hf_ann' : undefined)));
    assert.ok(!place.log.includes('hf_ann'));
  });
});

describe('while the Hub is away, a caller who was allowed before', { concurrency: true }, () => {
  for (const [policy, status] of [
    ['deny', 503],
    ['allow-cached', 200],
  ] as const) {
    test(`is answered with ${status} where --auth-on-error is ${policy}, and nobody else is served`, async (context) => {
      const place = new PrivateHub(200, ['--auth-on-error', policy]);
      await place.start();
      context.after(() => place.stop());
      place.admit('hf_ann');
      assert.equal((await place.ask('hf_ann')).status, 200);
      await place.forgotten();
      place.hub.isDown = true;
      const [known, stranger] = await Promise.all([place.ask('hf_ann'), place.ask('hf_bob')]);
      assert.equal(known.status, status);
      assert.equal(stranger.status, 503);
      assert.match(stranger.text, /team\/secret/);
    });
  }
});
