import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, afterEach, before, describe, it } from 'node:test';
import { Tokenizer as Reference } from 'tokenizers';
import { LoraxError } from '../base/errors.ts';
import { liveHandles } from '../base/handles.ts';
import { openAdapterTokenizer } from './adapter-tokenizer.ts';
import { type BaseTokenizer, openTokenizer } from './hf-tokenizer.ts';
import { unpackTokenizers } from './testdata/fixtures.ts';
import type { ChatInput, Tokenizer } from './tokenizer.ts';

const LLAMA = 'bpe_metaspace_llama2';
const TEXT = 'Once upon a time there was a café, 日本.';
const data = unpackTokenizers();
const scratch = mkdtempSync(join(tmpdir(), 'lorax-adapter-tokenizer-'));
const opened: Tokenizer[] = [];
let base: BaseTokenizer;

before(async () => {
  base = await openTokenizer(data.folderOf(LLAMA), { templateDeadlineMs: 1500, strangersDeadlineMs: 1500 });
});
afterEach(async () => {
  await Promise.all(opened.splice(0).map((tokenizer) => tokenizer.dispose()));
  assert.equal(liveHandles()['tokenizer'], undefined, 'no tokenizer of an adapter is left');
});
after(async () => {
  await base.dispose();
  assert.deepEqual(liveHandles(), {});
  data.remove();
  rmSync(scratch, { recursive: true, force: true });
});

type Json = Record<string, unknown>;
const user = (content: string): ChatInput => ({ messages: [{ role: 'user', content }], addGenerationPrompt: true });
const baseJson = (file: string): Json => JSON.parse(readFileSync(join(data.folderOf(LLAMA), file), 'utf8')) as Json;

/** An adapter's folder; texts and bytes are written as they are, anything else as JSON. */
function folderWith(files: Readonly<Record<string, unknown>>): string {
  const folder = mkdtempSync(join(scratch, 'adapter-'));
  for (const [name, content] of Object.entries(files)) {
    const raw = typeof content === 'string' || content instanceof Uint8Array;
    writeFileSync(join(folder, name), raw ? content : JSON.stringify(content));
  }
  return folder;
}

/** Fewer merges: the same text becomes other, shorter tokens of the same vocabulary. */
function otherMerges(keep = 200): Json {
  const tokenizer = baseJson('tokenizer.json');
  const model = tokenizer['model'] as Json & { merges: unknown[] };
  return { ...tokenizer, model: { ...model, merges: model.merges.slice(0, keep) } };
}

async function open(folder: string, vocabSize = base.vocabSize): Promise<Tokenizer | undefined> {
  const tokenizer = await openAdapterTokenizer(folder, 'org/poet', { tokenizer: base, vocabSize });
  if (tokenizer !== undefined) opened.push(tokenizer);
  return tokenizer;
}

async function openOwn(files: Readonly<Record<string, unknown>>): Promise<Tokenizer> {
  const tokenizer = await open(folderWith(files));
  assert.ok(tokenizer !== undefined, 'the adapter has a tokenizer of its own');
  return tokenizer;
}

async function refusal(work: Promise<unknown>, code: string): Promise<string> {
  const error: unknown = await work.then(
    () => assert.fail('it was accepted'),
    (reason: unknown) => reason,
  );
  assert.ok(error instanceof LoraxError, String(error));
  assert.equal(error.code, code, error.message);
  assert.ok(!error.message.includes(scratch) && error.message.length < 700);
  return error.message;
}

describe('an adapter without a tokenizer of its own', () => {
  it('is one whose folder has none, or copies of the model’s files', async () => {
    assert.equal(await open(folderWith({ 'adapter_config.json': {} })), undefined);
    const copy = mkdtempSync(join(scratch, 'copy-'));
    cpSync(data.folderOf(LLAMA), copy, { recursive: true });
    assert.equal(await open(copy), undefined);
    assert.deepEqual(liveHandles(), {}, 'nothing was parsed in a worker');
  });

  it('is one whose files are written differently and mean the same', async () => {
    const config = baseJson('tokenizer_config.json');
    const same = { ...config, model_max_length: 77, padding_side: 'left', clean_up_tokenization_spaces: true };
    const files = { 'tokenizer.json': readFileSync(join(data.folderOf(LLAMA), 'tokenizer.json')) };
    assert.equal(await open(folderWith({ ...files, 'tokenizer_config.json': same })), undefined);
    assert.equal(base.shared.ownCodecs.count, 0);
  });
});

describe('an adapter’s own chat template', () => {
  it('is rendered, and everything else is shared with the model', async () => {
    const own = await openOwn({ 'chat_template.jinja': 'own {{ bos_token }}{{ messages[0].content }}' });
    assert.equal(await own.renderChat(user('hi')), 'own <s>hi');
    assert.deepEqual(await own.encode(TEXT, true), await base.encode(TEXT, true));
    assert.equal(base.shared.ownCodecs.count, 0);
    assert.deepEqual(own.eosTokenIds, base.eosTokenIds);
    await own.dispose();
    assert.equal(await base.renderChat(user('hi')), await base.renderChat(user('hi')), 'the model’s is still there');
  });

  it('may stand in any of its three files; the one apart counts more', async () => {
    const config = { 'tokenizer_config.json': { ...baseJson('tokenizer_config.json'), chat_template: 'in config' } };
    const json = { 'chat_template.json': { chat_template: 'in json' } };
    const jinja = { 'chat_template.jinja': 'in jinja' };
    assert.equal(await (await openOwn(config)).renderChat(user('')), 'in config');
    assert.equal(await (await openOwn({ ...config, ...json })).renderChat(user('')), 'in json');
    assert.equal(await (await openOwn({ ...config, ...json, ...jinja })).renderChat(user('')), 'in jinja');
  });

  it('wins over the one that the operator put in the model’s place, which wins over a copy of the model’s', async () => {
    const path = join(scratch, 'operator.jinja');
    writeFileSync(path, 'operator');
    const changed = await openTokenizer(data.folderOf(LLAMA), { chatTemplatePath: path });
    const served = { tokenizer: changed, vocabSize: changed.vocabSize };
    assert.equal(await changed.renderChat(user('')), 'operator');
    assert.equal(await openAdapterTokenizer(data.folderOf(LLAMA), 'copy', served), undefined);
    const own = await openAdapterTokenizer(folderWith({ 'chat_template.jinja': 'own' }), 'own', served);
    assert.equal(await own?.renderChat(user('')), 'own');
    await changed.dispose();
  });

  it('may end an answer with another token', async () => {
    const eos = (baseJson('tokenizer_config.json')['bos_token'] ?? '<s>') as string;
    const own = await openOwn({ 'tokenizer_config.json': { ...baseJson('tokenizer_config.json'), eos_token: eos } });
    assert.deepEqual(own.eosTokenIds, [1]);
    assert.equal(base.shared.ownCodecs.count, 0, 'its tokens are the same');
  });

  it('is ended at its deadline, and holds up nobody else’s for long', async () => {
    const loop = '{% for i in range(100000) %}{% for j in range(100000) %}{% endfor %}{% endfor %}';
    const hostile = await openOwn({ 'chat_template.jinja': loop });
    const friendly = await openOwn({ 'chat_template.jinja': 'friendly' });
    const endless = Array.from({ length: 5 }, () => refusal(hostile.renderChat(user('')), 'TEMPLATE'));
    let endedCount = 0;
    for (const ending of endless) void ending.then(() => endedCount++);
    assert.equal(await friendly.renderChat(user('')), 'friendly');
    assert.equal(await base.renderChat(user('hi')), await base.renderChat(user('hi')));
    assert.ok(endedCount <= 2, `${endedCount} endless renderings came before the others`);
    assert.match((await Promise.all(endless.slice(0, 1)))[0]!, /longer than 1500 ms/);
  });

  it('can neither fill the memory, nor the answer, nor reach what it runs in', async () => {
    const render = async (template: string): Promise<string> =>
      (await openOwn({ 'chat_template.jinja': template })).renderChat(user('x'));
    const doubled = (count: number, end: string): string =>
      `{% set n = namespace(s='abcdefgh') %}{% for i in range(${count}) %}{% set n.s = n.s + n.s %}{% endfor %}${end}`;
    assert.match(await refusal(render('{% set a = range(1000000000) %}'), 'TEMPLATE'), /128 MB|1500 ms/);
    assert.match(await refusal(render(doubled(25, '{{ n.s | upper }}')), 'TEMPLATE'), /128 MB|1500 ms/);
    assert.match(await refusal(render(doubled(22, '{{ n.s }}')), 'TEMPLATE'), /more than 4194304 characters/);
    assert.match(await refusal(render(doubled(10, '{{ raise_exception(n.s) }}')), 'TEMPLATE'), /abcdefgh/);
    assert.match(await refusal(render('{% if %}'), 'TEMPLATE'), /rendered/);
    const probe = "[{{ messages.constructor }}{{ ''.constructor.constructor }}{{ process }}{{ __proto__ }}]";
    assert.equal(await render(probe), '[]');
    assert.equal(await base.renderChat(user('hi')), await base.renderChat(user('hi')));
  });
});

describe('an adapter’s own tokenizer', () => {
  it('gives its own ids, also for long texts, and their text', async () => {
    const tokenizer = JSON.stringify(otherMerges());
    const own = await openOwn({ 'tokenizer.json': tokenizer });
    const reference = Reference.fromString(tokenizer);
    for (const text of [TEXT, TEXT.repeat(300)]) {
      const ids = await own.encode(text, false);
      assert.deepEqual(ids, (await reference.encode(text, null, { addSpecialTokens: false })).getIds());
      assert.notDeepEqual(ids, await base.encode(text, false));
      assert.equal(own.decode(ids, { skipSpecialTokens: true }), text);
    }
    const spans = await own.spans(TEXT, false);
    assert.deepEqual(
      Uint32Array.from(spans, ({ id }) => id),
      Uint32Array.from(await own.encode(TEXT, false)),
    );
    assert.deepEqual([own.isSpecial(1), own.isSpecial(300)], [true, false]);
    assert.deepEqual(own.eosTokenIds, [2]);
  });

  it('is held once for all adapters with the same, and until the last one is gone', async () => {
    const files = { 'tokenizer.json': JSON.stringify(otherMerges(100)) };
    const all = await Promise.all(Array.from({ length: 5 }, () => openOwn(files)));
    assert.equal(liveHandles()['tokenizer'], 1);
    await Promise.all(all.slice(1).map((tokenizer) => tokenizer.dispose()));
    await all[1]!.dispose();
    assert.equal(liveHandles()['tokenizer'], 1);
    assert.ok((await all[0]!.encode(TEXT, true)).length > 0);
  });

  it('costs no processes of its own', async () => {
    const count = 12;
    const all: Tokenizer[] = [];
    for (let i = 0; i < count; i++) all.push(await openOwn({ 'tokenizer.json': otherMerges(i + 1) }));
    assert.equal(liveHandles()['tokenizer'], count);
    await Promise.all(all.map((tokenizer) => tokenizer.encode(TEXT, true)));
    assert.ok((liveHandles()['worker'] ?? 0) <= 6, '2 of each kind');
  });

  it('works on when its folder is gone and its worker has ended', async () => {
    const folder = folderWith({ 'tokenizer.json': otherMerges(50), 'chat_template.jinja': 'kept' });
    const own = await open(folder);
    const expected = await own!.encode(TEXT, true);
    rmSync(folder, { recursive: true });
    const slow = await openOwn({ 'tokenizer.json': hungry() });
    for (let i = 0; i < 2; i++) await refusal(slow.encode(`${'a'.repeat(40)}!`, false), 'ADAPTER_INVALID');
    assert.deepEqual(await own!.encode(TEXT, true), expected);
    assert.equal(await own!.renderChat(user('')), 'kept');
  });

  it('is made of the same tokenizer.json where only its settings differ', async () => {
    const tokenizer = readFileSync(join(data.folderOf(LLAMA), 'tokenizer.json'));
    const settings = { tokenizer_class: 'LlamaTokenizer', add_bos_token: false, add_eos_token: true };
    const config = { ...baseJson('tokenizer_config.json'), ...settings };
    const own = await openOwn({ 'tokenizer.json': tokenizer, 'tokenizer_config.json': config });
    const plain = await base.encode('Hi', false);
    assert.deepEqual(await own.encode('Hi', true), [...plain, 2]);
    assert.equal(liveHandles()['tokenizer'], 1);
  });

  it('must not have more tokens than the model', async () => {
    const folder = folderWith({ 'tokenizer.json': otherMerges() });
    const smaller = base.vocabSize - 1;
    const message = await refusal(open(folder, smaller), 'ADAPTER_INVALID');
    assert.match(message, new RegExp(`org/poet.*tokenizer\\.json: it has token id ${smaller}, .* ${smaller} tokens`));
    assert.ok((await open(folder, base.vocabSize)) !== undefined);
  });
});

/** Words take for ever: the expression tries every way to divide them. */
function hungry(): Json {
  const split = { type: 'Split', pattern: { Regex: '(a+)+$' }, behavior: 'Isolated', invert: false };
  return { ...otherMerges(), normalizer: null, pre_tokenizer: split };
}

describe('a hostile tokenizer', () => {
  const nested = (depth: number): string => '['.repeat(depth) + ']'.repeat(depth);
  const string = (pattern: string, content: string): Json => ({
    type: 'Replace',
    pattern: { String: pattern },
    content,
  });
  const decoder = (...decoders: unknown[]): Json => ({ ...otherMerges(), decoder: { type: 'Sequence', decoders } });
  const json = JSON.stringify;
  const sections = { normalizer: null, pre_tokenizer: null, post_processor: null, decoder: null };
  const bare = (model: unknown): Json => ({ ...sections, model });

  const REFUSED: readonly (readonly [what: string, files: () => Readonly<Record<string, unknown>>, reason: RegExp])[] =
    [
      ['is no JSON', () => ({ 'tokenizer.json': '{' }), /tokenizer\.json: the file is not valid JSON/],
      ['is a list', () => ({ 'tokenizer.json': '[]' }), /tokenizer\.json: the file does not hold a JSON object/],
      ['is no UTF-8', () => ({ 'tokenizer.json': Buffer.from([0x7b, 0xff, 0x7d]) }), /tokenizer\.json: .*UTF-8/],
      ['is empty', () => ({ 'tokenizer.json': '' }), /tokenizer\.json: the file is not valid JSON/],
      ['has no model', () => ({ 'tokenizer.json': bare(undefined) }), /tokenizer\.json: model/],
      ['has a number for a model', () => ({ 'tokenizer.json': bare(7) }), /tokenizer\.json: model/],
      ['has no vocabulary', () => ({ 'tokenizer.json': bare({ type: 'BPE' }) }), /tokenizer\.json: ./],
      [
        'has ids that are none',
        () => ({ 'tokenizer.json': bare({ type: 'BPE', vocab: { a: 1.5 }, merges: [] }) }),
        /tokenizer\.json: the id of a token is 1\.5/,
      ],
      [
        'has a huge id',
        () => ({ 'tokenizer.json': bare({ type: 'BPE', vocab: { a: 4e9 }, merges: [] }) }),
        /tokenizer\.json: it has token id 4000000000/,
      ],
      [
        'is nested deeply',
        () => ({
          'tokenizer.json': json(bare({ type: 'BPE', merges: [] })).replace(
            '"type"',
            `"vocab":${nested(200_000)},"type"`,
          ),
        }),
        /tokenizer\.json: ./,
      ],
      [
        'nests its decoder deeply',
        () => ({
          'tokenizer.json': json(otherMerges()).replace(/"decoder":\{/, `"decoder":{"extra":${nested(20_000)},`),
        }),
        /tokenizer\.json: ./,
      ],
      [
        'has settings of the wrong type',
        () => ({ 'tokenizer_config.json': { bos_token: 7 } }),
        /tokenizer_config\.json: bos_token/,
      ],
      ['has no JSON as settings', () => ({ 'special_tokens_map.json': '{' }), /special_tokens_map\.json: .*JSON/],
      [
        'has a template of the wrong type',
        () => ({ 'chat_template.json': { chat_template: 7 } }),
        /chat_template\.json: chat_template/,
      ],
      [
        'decodes by an expression',
        () => ({ 'tokenizer.json': decoder({ ...string('', ''), pattern: { Regex: '(a+)+$' } }) }),
        /decoder replaces/,
      ],
      ['decodes to longer texts', () => ({ 'tokenizer.json': decoder(string('a', 'aa')) }), /by longer ones/],
      [
        'decodes by what is nowhere',
        () => ({ 'tokenizer.json': decoder({ type: 'BPEDecoder', suffix: '' }) }),
        /suffix/,
      ],
      ['decodes in many steps', () => ({ 'tokenizer.json': decoder(...Array(40).fill({ type: 'Fuse' })) }), /32 steps/],
      [
        'has a long token',
        () => {
          const tokenizer = otherMerges();
          const model = tokenizer['model'] as Json & { vocab: Record<string, number> };
          return {
            'tokenizer.json': { ...tokenizer, model: { ...model, vocab: { ...model.vocab, ['x'.repeat(600)]: 9 } } },
          };
        },
        /600 characters/,
      ],
      [
        'has a type with a name of megabytes',
        () => ({ 'tokenizer.json': { ...otherMerges(), normalizer: { type: 'x'.repeat(4e6) } } }),
        /xxx/,
      ],
    ];

  for (const [what, files, reason] of REFUSED) {
    it(`that ${what} is refused by its file`, async () => {
      assert.match(await refusal(open(folderWith(files())), 'ADAPTER_INVALID'), reason);
    });
  }

  it('that is no plain file, or a huge one, is not read', async () => {
    const huge = folderWith({ 'tokenizer.json': '{}', 'chat_template.jinja': '' });
    truncateSync(join(huge, 'tokenizer.json'), 65 << 20);
    assert.match(await refusal(open(huge), 'ADAPTER_INVALID'), /tokenizer\.json: it is larger than 67108864 bytes/);
    truncateSync(join(huge, 'chat_template.jinja'), 2 << 20);
    assert.match(await refusal(open(huge), 'ADAPTER_INVALID'), /chat_template\.jinja: it is larger than 1048576 bytes/);
    const pipe = folderWith({});
    execFileSync('mkfifo', [join(pipe, 'tokenizer.json')]);
    assert.match(await refusal(open(pipe), 'ADAPTER_INVALID'), /tokenizer\.json: it is not a file/);
    const folder = folderWith({});
    mkdirSync(join(folder, 'tokenizer_config.json'));
    assert.match(await refusal(open(folder), 'ADAPTER_INVALID'), /tokenizer_config\.json: it is not a file/);
  });

  it('that works for ever on a text is ended, and other adapters’ go on', async () => {
    const hostile = await openOwn({ 'tokenizer.json': hungry() });
    const friendly = await openOwn({ 'tokenizer.json': otherMerges(60) });
    const endless = [1, 2].map(() => refusal(hostile.encode(`${'a'.repeat(40)}!`, false), 'ADAPTER_INVALID'));
    assert.ok((await friendly.encode(TEXT, false)).length > 0);
    for (const message of await Promise.all(endless)) assert.match(message, /longer than 1500 ms/);
  });

  it('that makes texts longer and longer is ended', async () => {
    const doubling = Array.from({ length: 40 }, () => ({ type: 'Replace', pattern: { String: 'a' }, content: 'aa' }));
    const normalizer = { type: 'Sequence', normalizers: doubling };
    const hostile = await openOwn({ 'tokenizer.json': { ...otherMerges(), normalizer } });
    assert.match(await refusal(hostile.encode('a', false), 'ADAPTER_INVALID'), /tokenizer\.json: a text/);
  });
});
