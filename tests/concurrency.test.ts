import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { isDeepStrictEqual } from 'node:util';
import * as fc from 'fast-check';
import { adapterIds, DEMO_ARGS, PROMPTS } from './demo.ts';
import { events, json, leave, post, type JsonObject } from './http.ts';
import { LoraxServer } from './lorax-process.ts';

const REQUEST_COUNT = 40;
const LEAVER_COUNT = 20;

interface Ask {
  readonly path: string;
  readonly body: JsonObject;
  readonly isStream: boolean;
}

const SAMPLED = { temperature: 0.9, top_k: 50, top_p: 0.95, repetition_penalty: 1.1 };

/** One form in which a client may ask for a continuation. */
type Form = (prompt: string, adapter: string, maxNewTokens: number, sampling: JsonObject) => Ask;

const native =
  (path: string, isStream: boolean): Form =>
  (inputs, adapter, maxNewTokens, sampling) => {
    const asked = adapter === '' ? {} : { adapter_id: adapter };
    const parameters = { ...asked, ...sampling, max_new_tokens: maxNewTokens, details: true };
    return { path, isStream, body: { inputs, parameters } };
  };

const openai =
  (isStream: boolean): Form =>
  (prompt, model, maxTokens, sampling) => {
    const path = '/v1/completions';
    return {
      path,
      isStream,
      body: { model, prompt, ...sampling, max_tokens: maxTokens, logprobs: 0, stream: isStream },
    };
  };

const FORMS = [native('/generate', false), native('/generate_stream', true), openai(false), openai(true)];

/** Every adapter and the base, in every form, greedy and sampled, with long and short answers. */
function plan(adapters: readonly string[]): Ask[] {
  const models = ['', ...adapters];
  return Array.from({ length: REQUEST_COUNT }, (_, index) => {
    const round = Math.floor(index / models.length);
    const form = FORMS[(index + round) % FORMS.length]!;
    const sampling = (index + round) % 3 === 0 ? {} : { ...SAMPLED, seed: index };
    return form(PROMPTS[index % PROMPTS.length]!, models[index % models.length]!, 8 + 8 * (index % 5), sampling);
  });
}

interface Answer {
  /** The answer without what differs between two answers to one request, and without the numbers below. */
  readonly content: unknown;
  readonly logprobs: readonly number[];
}

async function answer(url: string, { path, body, isStream }: Ask): Promise<Answer> {
  const reply = await post(url + path, body);
  const parts = isStream ? events(reply) : [json(reply)];
  assert.equal(reply.status, 200);
  assert.ok(parts.length > 0);
  const logprobs: number[] = [];
  const content = parts.map(({ id: _id, created: _created, ...rest }) => separate(rest, logprobs));
  return { content, logprobs };
}

/** How many tokens a draft spared follows from what steps cost at the moment; it is no part of an answer. */
const OF_SPEED = new Set(['skipped', 'skipped_tokens']);

/** Log-probabilities go to `logprobs`, the rest comes back. */
function separate(value: unknown, logprobs: number[], isLogprob = false): unknown {
  if (typeof value === 'number' && isLogprob) return logprobs.push(value);
  if (Array.isArray(value)) return value.map((item) => separate(item, logprobs, isLogprob));
  if (typeof value !== 'object' || value === null) return value;
  const entries = Object.entries(value).filter(([key]) => !OF_SPEED.has(key));
  return Object.fromEntries(
    entries.map(([key, item]) => [key, separate(item, logprobs, isLogprob || /logprobs?$/.test(key))]),
  );
}

/**
 * The order of float additions depends on the batch, so log-probabilities agree to a tolerance, and all else exactly. A sum at
 * the edge between two 16-bit numbers goes to the KV cache as one or the other; with float32 there is no such edge.
 */
function assertEqualAnswers(actual: Answer, expected: Answer, tolerance: number, message: string): void {
  assert.deepEqual(actual.content, expected.content, message);
  assert.equal(actual.logprobs.length, expected.logprobs.length, message);
  const distances = actual.logprobs.map((logprob, index) => Math.abs(logprob - expected.logprobs[index]!));
  const largest = Math.max(0, ...distances);
  assert.ok(largest < tolerance, `${message}: log-probabilities differ by ${largest}`);
}

/** In 16 bits such an edge may also tip a draw between two tokens, and the answer goes on from there: seldom, and never in float32. */
const SETTINGS = [
  { args: [], tolerance: 1e-2, mostTipped: 2 },
  { args: ['--dtype', 'float32'], tolerance: 1e-4, mostTipped: 0 },
];

/** Only what is drawn can be tipped: greedy answers are the same in any batch. */
function isTipped(ask: Ask, actual: Answer, expected: Answer): boolean {
  return JSON.stringify(ask.body).includes('"temperature"') && !isDeepStrictEqual(actual.content, expected.content);
}

for (const { args, tolerance, mostTipped } of SETTINGS) {
  describe(`served with ${args.join(' ') || 'the default options'}`, () => {
    let server: LoraxServer;
    let asks: Ask[];
    let together: Answer[];
    before(async () => {
      server = await LoraxServer.start([...DEMO_ARGS, ...args]);
      asks = plan(await adapterIds(server.url));
    });
    after(() => server.stop());

    const askTogether = async (order: readonly number[]): Promise<Answer[]> => {
      const answers: Answer[] = [];
      const ask = async (index: number) => (answers[index] = await answer(server.url, asks[index]!));
      await Promise.all(order.map(ask));
      return answers;
    };

    /** At most so many may be tipped. */
    const assertAlike = (answers: readonly Answer[], expected: readonly Answer[]): void => {
      let left = mostTipped;
      for (const [index, ask] of asks.entries()) {
        if (left > 0 && isTipped(ask, answers[index]!, expected[index]!)) left--;
        else assertEqualAnswers(answers[index]!, expected[index]!, tolerance, JSON.stringify(ask));
      }
    };

    test('40 concurrent requests in random order are answered as each is alone', async (t) => {
      together = await askTogether(randomOrder(t));
      const alone: Answer[] = [];
      for (const ask of asks) alone.push(await answer(server.url, ask));
      assertAlike(together, alone);
    });

    test('clients that disconnect in between change no answer', async (t) => {
      const leavers = Array.from({ length: LEAVER_COUNT }, (_, index) => {
        const { path, body } = FORMS[1 + 2 * (index % 2)]!(PROMPTS[index % PROMPTS.length]!, '', 400, {});
        return leave(server.url + path, body, 20 * index);
      });
      const answers = await askTogether(randomOrder(t));
      await Promise.all(leavers);
      assertAlike(answers, together);
    });
  });
}

/** A new order for every run; the seed that repeats it is part of the test's output. */
function randomOrder(t: { diagnostic(message: string): void }): number[] {
  const seed = Math.floor(Math.random() * 2 ** 31);
  t.diagnostic(`the order of seed ${seed}`);
  const indices = Array.from({ length: REQUEST_COUNT }, (_, index) => index);
  const shuffled = fc.shuffledSubarray(indices, { minLength: REQUEST_COUNT });
  return fc.sample(shuffled, { seed, numRuns: 1 })[0]!;
}
