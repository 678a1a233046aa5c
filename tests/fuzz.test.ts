import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import * as fc from 'fast-check';
import { adapterIds, PROMPTS, QUIET_DEMO_ARGS } from './demo.ts';
import { json, post, postRaw } from './http.ts';
import { LoraxServer } from './lorax-process.ts';

const REQUEST_COUNT = 500;
const TOGETHER = 10;

let server: LoraxServer;
let adapter: string;
before(async () => {
  server = await LoraxServer.start([...QUIET_DEMO_ARGS, '--max-total-tokens', '48']);
  [adapter = ''] = await adapterIds(server.url);
});
after(() => server.stop());

const NATIVE = {
  inputs: PROMPTS[0],
  parameters: {
    adapter_id: 'ADAPTER',
    adapter_source: 'local',
    temperature: 0.7,
    top_k: 10,
    top_p: 0.9,
    typical_p: 0.9,
    repetition_penalty: 1.1,
    seed: 3,
    stop: ['.', '\n'],
    truncate: 8,
    best_of: 2,
    max_new_tokens: 4,
    details: true,
    decoder_input_details: true,
    return_k_alternatives: 2,
  },
};
const SHARED = { model: 'ADAPTER', max_tokens: 4, temperature: 0.7, n: 2, seed: 1, stop: 'a', stream: false };
const BODIES: Readonly<Record<string, unknown>> = {
  '/generate': NATIVE,
  '/generate_stream': { ...NATIVE, parameters: { ...NATIVE.parameters, best_of: 1, decoder_input_details: false } },
  '/': { ...NATIVE, stream: false },
  '/v1/completions': { ...SHARED, prompt: [PROMPTS[1], PROMPTS[2]], logprobs: 2, echo: true, best_of: 2 },
  '/v1/chat/completions': { ...SHARED, messages: [{ role: 'user', content: 'Who is there?' }], logprobs: true },
  '/tokenize': { inputs: PROMPTS[3], add_special_tokens: true },
};

/** What stands in a body where a client went wrong, or wants to find out. */
const ODD = fc.oneof(
  fc.jsonValue(),
  fc.constantFrom(-1, 0, 1e308, 2 ** 53, 0.5, '', '\u0000', '\ud800', '../..', '%2e%2e/', 'a/'.repeat(600), null),
  fc.constantFrom<unknown>([], {}, [[]], [-1, 4095, 4096], [''], { type: 'json_object' }, true, 'NaN'),
);

const MUTATED = fc
  .record({
    path: fc.constantFrom(...Object.keys(BODIES)),
    changes: fc.array(fc.record({ at: fc.nat(), value: fc.option(ODD, { nil: undefined }) }), {
      minLength: 1,
      maxLength: 4,
    }),
    cut: fc.option(fc.record({ at: fc.nat(), bytes: fc.uint8Array({ maxLength: 4 }) }), { freq: 6 }),
  })
  .map(({ path, changes, cut }) => {
    let body = structuredClone(BODIES[path]);
    for (const { at, value } of changes) body = changed(body, at, value);
    const bytes = Buffer.from(JSON.stringify(body)?.replaceAll('"ADAPTER"', () => JSON.stringify(adapter)) ?? '');
    return { path, bytes: cut === null ? bytes : spliced(bytes, cut) };
  });

/** `body` with `value` in place of one of its parts; undefined takes the part away. */
function changed(body: unknown, at: number, value: unknown): unknown {
  const places = placesOf(body);
  const place = places[at % (places.length + 1)];
  const fresh = structuredClone(value); // the next change may be inside it
  if (place === undefined) return fresh;
  Reflect.set(place.parent, place.key, fresh);
  return body;
}

function placesOf(value: unknown): { parent: object; key: string }[] {
  if (typeof value !== 'object' || value === null) return [];
  return Object.entries(value).flatMap(([key, child]) => [{ parent: value, key }, ...placesOf(child)]);
}

function spliced(bytes: Buffer, { at, bytes: foreign }: { at: number; bytes: Uint8Array }): Buffer {
  const place = at % (bytes.length + 1);
  return Buffer.concat([bytes.subarray(0, place), foreign, bytes.subarray(place + foreign.length)]);
}

test('500 mutated requests get no 5xx, and the server answers as before', async () => {
  const normal = { inputs: PROMPTS[0], parameters: { adapter_id: adapter, max_new_tokens: 8, details: true } };
  const answered = async () => json(await post(`${server.url}/generate`, normal))['generated_text'];
  const before = await answered();
  const statuses = new Map<number, number>();
  const together = fc.array(MUTATED, { minLength: TOGETHER, maxLength: TOGETHER });
  const property = fc.asyncProperty(together, async (requests) => {
    const send = async ({ path, bytes }: (typeof requests)[number]) => {
      const { status, text } = await postRaw(server.url + path, bytes, 'application/json');
      statuses.set(status, (statuses.get(status) ?? 0) + 1);
      assert.ok(status < 500, `${path} ${bytes.toString()}: ${status} ${text}`);
    };
    await Promise.all(requests.map(send));
  });
  await fc.assert(property, { numRuns: REQUEST_COUNT / TOGETHER, endOnFailure: true });
  const kinds = [200, 400, 422].map((status) => (statuses.get(status) ?? 0) > 0);
  assert.deepEqual(kinds, [true, true, true], `of each kind there were some: ${JSON.stringify([...statuses])}`);
  assert.equal(await answered(), before);
  assert.equal(server.stderr, '');
});
