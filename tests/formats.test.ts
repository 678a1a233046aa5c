import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { adapterIds, PROMPTS, QUIET_DEMO_ARGS } from './demo.ts';
import { events, get, getJson, json, post, type JsonObject } from './http.ts';
import { LoraxServer } from './lorax-process.ts';

const [PROMPT] = PROMPTS;
let server: LoraxServer;
let adapter: string;
before(async () => {
  server = await LoraxServer.start(QUIET_DEMO_ARGS);
  [adapter = ''] = await adapterIds(server.url);
});
after(() => server.stop());

const ask = async (path: string, body: JsonObject): Promise<JsonObject> => json(await post(server.url + path, body));
const stream = async (path: string, body: JsonObject): Promise<JsonObject[]> => {
  const reply = await post(server.url + path, body);
  assert.equal(reply.status, 200, reply.text);
  assert.match(reply.contentType, /^text\/event-stream/);
  return events(reply);
};

/** Asserts that each field has the type that is written for it; null only where `null` is one of the types. */
function assertFields(value: unknown, fields: Readonly<Record<string, string>>): void {
  const object = value as JsonObject;
  for (const [name, types] of Object.entries(fields)) {
    const found = object[name];
    const type = found === null ? 'null' : Array.isArray(found) ? 'array' : typeof found;
    assert.ok(types.split('|').includes(type), `${name} is ${type}, not ${types}, in ${JSON.stringify(object)}`);
  }
}

const TOKEN = { id: 'number', text: 'string', logprob: 'number|null', special: 'boolean', skipped: 'boolean' };
const DETAILS = {
  finish_reason: 'string',
  prompt_tokens: 'number',
  generated_tokens: 'number',
  skipped_tokens: 'number',
  prefill: 'array',
  tokens: 'array',
};
const USAGE = { prompt_tokens: 'number', completion_tokens: 'number', total_tokens: 'number' };

/** Every field that LoRAX's Python client knows, as it sends them: null where its caller gave nothing. */
const PYTHON_PARAMETERS = {
  adapter_id: null,
  adapter_source: null,
  merged_adapters: null,
  api_token: null,
  do_sample: false,
  max_new_tokens: 12,
  ignore_eos_token: false,
  repetition_penalty: null,
  return_full_text: false,
  stop: [],
  seed: null,
  temperature: null,
  top_k: null,
  top_p: null,
  truncate: null,
  typical_p: null,
  best_of: null,
  watermark: false,
  details: true,
  decoder_input_details: false,
  return_k_alternatives: null,
  response_format: null,
};

test("the Python client's request is answered with an array of one", async () => {
  const body = { inputs: PROMPT, parameters: PYTHON_PARAMETERS, stream: false };
  const answers = (await ask('/', body)) as unknown as JsonObject[];
  assert.equal(answers.length, 1);
  assertFields(answers[0], { generated_text: 'string', details: 'object' });
  assertFields(answers[0]!['details'], DETAILS);
  const { tokens } = answers[0]!['details'] as { tokens: unknown[] };
  assert.equal(tokens.length, 12);
  for (const token of tokens) assertFields(token, TOKEN);
});

test("the Python client's stream ends with the text and the details", async () => {
  const parameters = { ...PYTHON_PARAMETERS, adapter_id: adapter, adapter_source: 'local' };
  const parts = await stream('/', { inputs: PROMPT, parameters, stream: true });
  for (const part of parts) assertFields(part['token'], TOKEN);
  assert.equal(parts.length, 12);
  for (const part of parts.slice(0, -1)) assert.deepEqual([part['generated_text'], part['details']], [null, null]);
  const text = parts.map(({ token }) => (token as { text: string }).text).join('');
  assert.equal(parts.at(-1)?.['generated_text'], text);
  assertFields(parts.at(-1)?.['details'], {
    finish_reason: 'string',
    prompt_tokens: 'number',
    generated_tokens: 'number',
  });
});

test('prompt log-probabilities, alternatives and the full text come where they are asked for', async () => {
  const parameters = { max_new_tokens: 3, details: true, decoder_input_details: true, return_k_alternatives: 4 };
  const answer = await ask('/generate', { inputs: PROMPT, parameters: { ...parameters, return_full_text: true } });
  assert.ok(String(answer['generated_text']).startsWith(PROMPT!));
  const details = answer['details'] as { prompt_tokens: number; prefill: JsonObject[]; tokens: JsonObject[] };
  assert.equal(details.prefill.length, details.prompt_tokens);
  assert.deepEqual(
    details.prefill.map(({ logprob }) => logprob === null),
    details.prefill.map((_, index) => index === 0),
  );
  for (const { id, alternative_tokens: alternatives } of details.tokens) {
    const ids = (alternatives as JsonObject[]).map((alternative) => alternative['id']);
    assert.equal(new Set(ids).size, 4);
    assert.equal(ids[0], id); // greedy takes the best
  }
});

test('a completion has the shape that OpenAI documents', async () => {
  const body = { model: adapter, prompt: PROMPT, max_tokens: 6, logprobs: 2, echo: true };
  const answer = await ask('/v1/completions', body);
  assertFields(answer, { id: 'string', created: 'number', choices: 'array', usage: 'object' });
  assert.deepEqual([answer['object'], answer['model']], ['text_completion', adapter]);
  assertFields(answer['usage'], USAGE);
  const [choice] = answer['choices'] as JsonObject[];
  assertFields(choice, { index: 'number', text: 'string', logprobs: 'object', finish_reason: 'string' });
  const logprobs = choice!['logprobs'] as Record<string, unknown[]>;
  const lengths = ['tokens', 'token_logprobs', 'top_logprobs', 'text_offset'].map((name) => logprobs[name]?.length);
  assert.deepEqual(new Set(lengths), new Set([(answer['usage'] as { total_tokens: number }).total_tokens]));
  assert.ok(logprobs['tokens']!.join('').endsWith(String(choice!['text']))); // the tokens begin with BOS
});

test('completions of several prompts, as texts and as tokens, keep their order', async () => {
  const texts = PROMPTS.slice(0, 3);
  const tokens = await Promise.all(
    texts.map(async (inputs) => {
      const spans = (await ask('/tokenize', { inputs })) as unknown as { id: number }[];
      return spans.map(({ id }) => id);
    }),
  );
  const ofTexts = (await ask('/v1/completions', { model: '', prompt: texts, max_tokens: 5 }))[
    'choices'
  ] as JsonObject[];
  const ofTokens = (await ask('/v1/completions', { model: '', prompt: tokens, max_tokens: 5 }))[
    'choices'
  ] as JsonObject[];
  assert.deepEqual(
    ofTexts.map(({ index }) => index),
    [0, 1, 2],
  );
  assert.deepEqual(
    ofTexts.map(({ text }) => text),
    ofTokens.map(({ text }) => text),
  );
  const alone = await ask('/v1/completions', { model: '', prompt: texts[2], max_tokens: 5 });
  assert.equal(ofTexts[2]!['text'], (alone['choices'] as JsonObject[])[0]!['text']);
});

test('a streamed chat says what the whole answer says, and its usage where asked', async () => {
  const messages = [{ role: 'user', content: 'Where do you live?' }];
  const body = { model: adapter, messages, max_tokens: 10, temperature: 0 };
  const whole = await ask('/v1/chat/completions', body);
  assert.equal(whole['object'], 'chat.completion');
  assertFields(whole['usage'], USAGE);
  const [choice] = whole['choices'] as { message: JsonObject; finish_reason: string }[];
  const streamed = await stream('/v1/chat/completions', {
    ...body,
    stream: true,
    stream_options: { include_usage: true },
  });
  assert.ok(streamed.every(({ object }) => object === 'chat.completion.chunk'));
  assert.deepEqual(streamed.at(-1)?.['usage'], whole['usage']);
  const choices = streamed.flatMap((chunk) => chunk['choices'] as { delta: JsonObject; finish_reason: unknown }[]);
  assert.equal(choices[0]?.delta['role'], 'assistant');
  assert.equal(choices.map(({ delta }) => delta['content'] ?? '').join(''), choice?.message['content']);
  assert.deepEqual(choices.map(({ finish_reason: reason }) => reason).filter(Boolean), [choice?.finish_reason]);
});

test('models, tokens, facts, health and metrics can be asked for', async () => {
  const { data } = (await getJson(`${server.url}/v1/models`)) as { data: JsonObject[] };
  for (const model of data)
    assertFields(model, { id: 'string', object: 'string', created: 'number', owned_by: 'string' });
  const spans = (await ask('/tokenize', { inputs: 'little house', add_special_tokens: false })) as unknown as {
    start: number;
    stop: number;
  }[];
  assert.deepEqual([spans[0]?.start, spans.at(-1)?.stop], [0, 'little house'.length]);
  assertFields(await getJson(`${server.url}/info`), {
    model_id: 'string',
    max_total_tokens: 'number',
    version: 'string',
  });
  assert.equal((await get(`${server.url}/health`)).status, 200);
  assert.match((await get(`${server.url}/metrics`)).text, /^lorax_request_success \d+$/m);
  const metrics = await get(`${server.url}/metrics`, { accept: 'application/json' });
  assert.match(metrics.contentType, /^application\/json/);
  assert.ok(JSON.parse(metrics.text));
});
