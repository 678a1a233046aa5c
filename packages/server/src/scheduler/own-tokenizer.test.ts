import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, afterEach, before, describe, it, test } from 'node:test';
import { LoraxError } from '../base/errors.ts';
import type { ChatInput, Tokenizer } from '../text/tokenizer.ts';
import { type Answer, finishReason, readAnswer, REQUEST, RequestSetting } from '../testing/request-setting.ts';
import { BOS } from '../testing/tiny-model.ts';
import { PromptReader } from './prompt-reader.ts';
import type { GenerationRequest } from './request.ts';

type Json = Record<string, unknown>;

const bytes = (text: string): number[] => [...Buffer.from(text)];
const chat = (content: string): { readonly chat: ChatInput } => ({
  chat: { messages: [{ role: 'user', content }], addGenerationPrompt: true },
});

describe('a request to an adapter with a tokenizer of its own', () => {
  let setting: RequestSetting;
  before(async () => void (setting = await RequestSetting.open()));
  after(() => setting.dispose());
  afterEach(() => {
    setting.backend.nextToken = () => undefined;
    setting.backend.beforeStep = () => undefined;
  });

  function adapterWith(files: Readonly<Record<string, string>>): NonNullable<GenerationRequest['adapter']> {
    const { id, folder } = setting.engine.writeAdapter({ rank: 4, targets: ['q_proj'] });
    for (const [name, content] of Object.entries(files)) writeFileSync(join(folder, name), content);
    return { id, source: 'local' };
  }

  const modelJson = (file: string): Json =>
    JSON.parse(readFileSync(join(setting.engine.root, 'model', file), 'utf8')) as Json;

  /** Byte b is token 255 - b. */
  function mirrored(): string {
    const tokenizer = modelJson('tokenizer.json');
    const model = tokenizer['model'] as Json & { vocab: Record<string, number> };
    const vocab = Object.entries(model.vocab).map(([piece, id]) => [piece, id < 256 ? 255 - id : id]);
    return JSON.stringify({ ...tokenizer, model: { ...model, vocab: Object.fromEntries(vocab) } });
  }

  function assertRefused({ error }: Answer, code: string): void {
    assert.ok(error instanceof LoraxError, String(error));
    assert.equal(error.code, code);
  }

  it('is rendered by that adapter’s template, in one batch with the base and with others', async () => {
    const [poet, clerk] = ['poet:', 'clerk:'].map((name) =>
      adapterWith({ 'chat_template.jinja': `${name}{{ messages[0].content }}` }),
    );
    const asked: Partial<GenerationRequest>[] = [
      { prompt: chat('hi'), adapter: poet },
      { prompt: chat('hi'), adapter: clerk },
      { prompt: { text: 'plain' }, adapter: undefined },
    ];
    const alone: Answer[] = [];
    for (const [index, text] of ['poet:hi', 'clerk:hi', 'plain'].entries()) {
      alone.push(await setting.answer({ ...asked[index], prompt: { text }, maxNewTokens: 12 }));
    }
    setting.backend.steps.length = 0;
    let begin = (): void => undefined;
    const allAccepted = new Promise<void>((resolve) => (begin = resolve));
    setting.backend.beforeStep = () => allAccepted;
    const generations = await Promise.all(asked.map((ask) => setting.generate({ ...ask, maxNewTokens: 12 })));
    assert.deepEqual(
      generations.map(({ promptText }) => promptText),
      ['poet:hi', 'clerk:hi', 'plain'],
    );
    begin();
    const together = await Promise.all(generations.map(readAnswer));
    assert.deepEqual(
      together.map(({ result }) => result),
      alone.map(({ result }) => result),
    );
    assert.ok(setting.backend.steps.some((segments) => segments.length === 3));
  });

  it('has its own tokens and its own text', async () => {
    const adapter = adapterWith({ 'tokenizer.json': mirrored() });
    const mirror = (text: string): number[] => bytes(text).map((byte) => 255 - byte);
    const answer = mirror('done');
    setting.backend.nextToken = ({ position, tokens }) => answer[position + tokens.length - 3];
    setting.backend.steps.length = 0;
    const generation = await setting.generate({
      prompt: { text: 'hi' },
      adapter,
      maxNewTokens: 4,
      promptLogprobs: true,
    });
    const { result, tokens } = await readAnswer(generation);
    assert.deepEqual(setting.backend.steps[0]?.[0]?.tokens, [BOS, ...mirror('hi')]);
    assert.deepEqual(
      generation.prompt.map(({ text }) => text),
      ['<bos>', 'h', 'i'],
    );
    assert.equal(result?.text, 'done');
    assert.equal(tokens.map(({ text }) => text).join(''), 'done');
    const asTokens = await setting.generate({ prompt: { tokens: mirror('hi') }, adapter, maxNewTokens: 1 });
    assert.equal(asTokens.promptText, 'hi');
    await readAnswer(asTokens);
  });

  it('ends where its tokenizer says so, and others do not', async () => {
    const config = { ...modelJson('tokenizer_config.json'), eos_token: '<bos>' };
    const adapter = adapterWith({ 'tokenizer_config.json': JSON.stringify(config) });
    setting.backend.nextToken = () => BOS;
    const ask = { ignoreEos: false, maxNewTokens: 4 };
    assert.equal(finishReason(await setting.answer({ ...ask, adapter })), 'eos_token');
    assert.equal(finishReason(await setting.answer(ask)), 'length');
  });

  it('is refused for its adapter before anything of it is rendered, and for its template with its own status', async () => {
    assertRefused(
      await setting.answer({ prompt: chat('x'), adapter: { id: 'nobody', source: 'local' } }),
      'ADAPTER_NOT_FOUND',
    );
    assertRefused(await setting.answer({ prompt: chat('x') }), 'TEMPLATE');
    const raising = adapterWith({ 'chat_template.jinja': "{{ raise_exception('no') }}" });
    assertRefused(await setting.answer({ prompt: chat('x'), adapter: raising }), 'TEMPLATE');
    const broken = adapterWith({ 'tokenizer.json': '{' });
    assertRefused(await setting.answer({ adapter: broken }), 'ADAPTER_INVALID');
  });
});

test('the sequences of one call render their chat once', async () => {
  let renderings = 0;
  const tokenizer = {
    renderChat: async ({ messages }: ChatInput) => `${++renderings} ${messages[0]!.content}`,
    encode: async (text: string) => bytes(text),
  } as Partial<Tokenizer> as Tokenizer;
  const prompts = new PromptReader({ maxInputLength: 100, vocabSize: 256 });
  const read = async (prompt: GenerationRequest['prompt'], by = tokenizer): Promise<string> =>
    (await prompts.read({ ...REQUEST, prompt }, by, new AbortController().signal)).text;
  const shared = chat('hi');
  assert.deepEqual(await Promise.all([read(shared), read(shared), read(shared)]), ['1 hi', '1 hi', '1 hi']);
  assert.equal(await read(chat('hi')), '2 hi');
  assert.equal(await read(shared, { ...tokenizer }), '3 hi', 'another tokenizer has another template');
});
