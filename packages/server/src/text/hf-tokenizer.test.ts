import assert from 'node:assert/strict';
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, afterEach, test } from 'node:test';
import fc from 'fast-check';
import { Tokenizer as Reference } from 'tokenizers';
import { LoraxError } from '../base/errors.ts';
import { liveHandles } from '../base/handles.ts';
import { openTokenizer, type TokenizerOptions } from './hf-tokenizer.ts';
import { KINDS, sharedTokenizers, unpackTokenizers, vectorsIn } from './testdata/fixtures.ts';
import { hardText } from './testdata/hard-text.ts';
import type { ChatInput, Tokenizer } from './tokenizer.ts';

const data = unpackTokenizers();
const scratch = mkdtempSync(join(tmpdir(), 'lorax-tokenizer-test-'));
const opened: Tokenizer[] = [];

afterEach(async () => {
  await Promise.all(opened.splice(0).map((tokenizer) => tokenizer.dispose()));
  assert.deepEqual(liveHandles(), {});
});
after(() => {
  data.remove();
  rmSync(scratch, { recursive: true, force: true });
});

async function open(folder: string, options?: TokenizerOptions): Promise<Tokenizer> {
  const tokenizer = await openTokenizer(folder, options);
  opened.push(tokenizer);
  return tokenizer;
}

/** A copy of a folder with entries of its JSON files changed; an entry of `undefined` is removed. */
function changed(kind: string, changes: Readonly<Record<string, Record<string, unknown>>>): string {
  const folder = join(mkdtempSync(join(scratch, 'model-')), 'my-model');
  cpSync(data.folderOf(kind), folder, { recursive: true });
  for (const [file, entries] of Object.entries(changes)) {
    const path = join(folder, file);
    const content = JSON.parse(readFileSync(path, 'utf8')) as Record<string, unknown>;
    writeFileSync(path, JSON.stringify({ ...content, ...entries }));
  }
  return folder;
}

const LLAMA = 'bpe_metaspace_llama2';
const user = (content: string): ChatInput => ({ messages: [{ role: 'user', content }], addGenerationPrompt: true });

const shared = sharedTokenizers();
const sources = [{ name: 'committed', folderOf: (kind: string) => data.folderOf(kind) }];
if (shared !== undefined) sources.push({ name: 'shared', folderOf: (kind) => join(shared, kind) });

for (const { name, folderOf } of sources) {
  for (const kind of KINDS) {
    test(`${kind} (${name}): encodes and decodes as transformers does`, async () => {
      const tokenizer = await open(folderOf(kind));
      for (const vector of vectorsIn(folderOf(kind)).encodings) {
        assert.deepEqual(await tokenizer.encode(vector.text, true), vector.ids, vector.text);
        assert.deepEqual(await tokenizer.encode(vector.text, false), vector.ids_no_special, vector.text);
        assert.equal(tokenizer.decode(vector.ids, { skipSpecialTokens: true }), vector.decoded);
        assert.equal(tokenizer.decode(vector.ids, { skipSpecialTokens: false }), vector.decoded_with_special);
      }
    });

    test(`${kind} (${name}): renders chats as transformers does`, async () => {
      const chats = vectorsIn(folderOf(kind)).chats ?? [];
      const tokenizer = await open(folderOf(kind));
      assert.equal(tokenizer.hasChatTemplate, chats.length > 0);
      for (const { messages, rendered } of chats) {
        assert.equal(await tokenizer.renderChat({ messages, addGenerationPrompt: true }), rendered);
      }
    });
  }
}

for (const kind of KINDS) {
  test(`${kind}: encodes any text as the reference implementation does`, async () => {
    const tokenizer = await open(data.folderOf(kind));
    const reference = Reference.fromFile(join(data.folderOf(kind), 'tokenizer.json'));
    await fc.assert(
      fc.asyncProperty(hardText, fc.boolean(), async (text, addSpecialTokens) => {
        const expected = await reference.encode(text, null, { addSpecialTokens });
        assert.deepEqual(await tokenizer.encode(text, addSpecialTokens), expected.getIds());
        assert.deepEqual(
          (await tokenizer.spans(text, addSpecialTokens)).map(({ id }) => id),
          expected.getIds(),
        );
      }),
      { numRuns: 250 },
    );
  });

  test(`${kind}: decodes any encoding as the reference implementation does`, async () => {
    const tokenizer = await open(data.folderOf(kind));
    const reference = Reference.fromFile(join(data.folderOf(kind), 'tokenizer.json'));
    await fc.assert(
      fc.asyncProperty(hardText, fc.boolean(), async (text, skipSpecialTokens) => {
        const ids = await tokenizer.encode(text, true);
        const expected = await reference.decode(ids, skipSpecialTokens);
        assert.equal(tokenizer.decode(ids, { skipSpecialTokens }), expected);
      }),
      { numRuns: 150 },
    );
  });
}

test('long texts give the same ids, from a worker', async () => {
  const tokenizer = await open(data.folderOf(LLAMA));
  const reference = Reference.fromFile(join(data.folderOf(LLAMA), 'tokenizer.json'));
  const text = 'Once upon a time there was a café, 日本. '.repeat(400);
  assert.deepEqual(await tokenizer.encode(text, true), (await reference.encode(text)).getIds());
  assert.equal(liveHandles()['worker'], 1);
  assert.equal((await tokenizer.spans(text, true)).at(-1)?.stop, Array.from(text).length);
});

test('what is no token or no text is handled', async () => {
  const tokenizer = await open(data.folderOf(LLAMA));
  assert.equal(tokenizer.decode([], { skipSpecialTokens: true }), '');
  assert.equal(tokenizer.decode([tokenizer.vocabSize + 3, -1], { skipSpecialTokens: false }), '');
  const lone = await tokenizer.encode('a\ud800b', false);
  assert.equal(tokenizer.decode(lone, { skipSpecialTokens: true }), 'a\ufffdb');
});

test('special tokens and the end of sequence are known', async () => {
  const tokenizer = await open(data.folderOf(LLAMA));
  assert.deepEqual(tokenizer.eosTokenIds, [2]);
  assert.deepEqual(
    [0, 1, 2, 3].map((id) => tokenizer.isSpecial(id)),
    [true, true, true, false],
  );
});

test('added_tokens_decoder can add tokens and make them special', async () => {
  const token = { content: '<tool>', single_word: false, lstrip: false, rstrip: false, normalized: false };
  const folder = changed(LLAMA, {
    'tokenizer_config.json': { added_tokens_decoder: { '1500': { ...token, special: true } } },
  });
  const tokenizer = await open(folder);
  assert.equal(tokenizer.vocabSize, 1501);
  assert.equal(tokenizer.isSpecial(1500), true);
  assert.ok((await tokenizer.encode('a<tool>b', false)).includes(1500));
  assert.equal(tokenizer.decode([1500], { skipSpecialTokens: true }), '');
});

test('a Llama tokenizer takes its special tokens from the configuration', async () => {
  const plain = await open(changed(LLAMA, { 'tokenizer_config.json': { tokenizer_class: 'LlamaTokenizerFast' } }));
  assert.equal((await plain.encode('Hi', true))[0], 1);
  const config = { tokenizer_class: 'LlamaTokenizer', add_bos_token: false, add_eos_token: true };
  const turned = await open(changed(LLAMA, { 'tokenizer_config.json': config }));
  const ids = await turned.encode('Hi', true);
  assert.deepEqual([ids[0] === 1, ids.at(-1)], [false, 2]);
});

test('clean-up of spaces is for word tokenizers only', async () => {
  const asked = { 'tokenizer_config.json': { clean_up_tokenization_spaces: true } };
  const bpe = await open(changed('bpe_bytelevel_llama3', asked));
  assert.equal(bpe.decode(await bpe.encode('x != y .', false), { skipSpecialTokens: true }), 'x != y .');
  const unigram = await open(changed('unigram_t5', asked));
  assert.equal(unigram.decode(await unigram.encode('the end .', false), { skipSpecialTokens: true }), 'the end.');
});

test('files that are missing or damaged are named, without their path', async () => {
  const rejects = async (folder: string, reason: RegExp): Promise<void> => {
    await assert.rejects(openTokenizer(folder), (error: unknown) => {
      assert.ok(error instanceof LoraxError);
      assert.equal(error.code, 'MODEL_INVALID');
      assert.match(error.message, reason);
      assert.ok(!error.message.includes(scratch));
      return true;
    });
  };
  await rejects(join(scratch, 'nothing'), /`nothing`.*tokenizer\.json: the file is missing/);
  const broken = changed(LLAMA, {});
  writeFileSync(join(broken, 'tokenizer_config.json'), '{');
  await rejects(broken, /tokenizer_config\.json: the file is not valid JSON/);
  writeFileSync(join(broken, 'tokenizer_config.json'), '[]');
  await rejects(broken, /tokenizer_config\.json: the file does not hold a JSON object/);
  await rejects(changed(LLAMA, { 'tokenizer_config.json': { bos_token: 7 } }), /tokenizer_config\.json: bos_token/);
  await rejects(changed(LLAMA, { 'tokenizer.json': { model: undefined } }), /tokenizer\.json: model/);
  await rejects(changed(LLAMA, { 'tokenizer.json': { decoder: { type: 'Odd' } } }), /decoder type Odd/);
  await rejects(changed(LLAMA, { 'tokenizer.json': { pre_tokenizer: { type: 'Odd' } } }), /pre-tokenizer type Odd/);
  await rejects(changed(LLAMA, { 'tokenizer.json': { post_processor: { type: 'Odd' } } }), /post-processor type Odd/);
  await rejects(changed(LLAMA, { 'tokenizer.json': { normalizer: { type: 'Odd' } } }), /Odd/);
  await rejects(changed(LLAMA, { 'tokenizer.json': { model: { type: 'BPE', vocab: { a: -1 }, merges: [] } } }), /-1/);
});

const withTemplate = (template: unknown): string => {
  const folder = changed(LLAMA, { 'tokenizer_config.json': { chat_template: template } });
  rmSync(join(folder, 'chat_template.jinja'));
  return folder;
};

test('a template may be one text or a list with names', async () => {
  const single = await open(withTemplate('{{ messages[0].content }}'));
  assert.equal(await single.renderChat(user('one')), 'one');
  const list = await open(
    withTemplate([
      { name: 'default', template: 'plain' },
      { name: 'tool_use', template: 'tools {{ tools | length }}' },
    ]),
  );
  assert.equal(await list.renderChat(user('x')), 'plain');
  assert.equal(await list.renderChat({ ...user('x'), variables: { tools: [{}, {}] } }), 'tools 2');
});

test('templates see special tokens, further variables and "no tools" as none', async () => {
  const template =
    '{{ bos_token }}{{ eos_token }}{{ extra }}{% if tools is none %}N{% endif %}{% if add_generation_prompt %}!{% endif %}\n' +
    '{% for m in messages %}\n  {{- m.role }}\n{% endfor %}\n';
  const tokenizer = await open(withTemplate(template));
  const chat = { ...user('x'), variables: { extra: 'E' } };
  assert.equal(await tokenizer.renderChat(chat), '<s></s>EN!user\n');
});

test("a template given apart replaces the model's", async () => {
  const path = join(scratch, 'other.jinja');
  writeFileSync(path, 'other {{ messages[0].content }}');
  const text = await open(data.folderOf(LLAMA), { chatTemplatePath: path });
  assert.equal(await text.renderChat(user('a')), 'other a');
  const config = join(scratch, 'other.json');
  writeFileSync(config, JSON.stringify({ chat_template: '{{ bos_token }}', bos_token: '<unk>' }));
  const json = await open(data.folderOf(LLAMA), { chatTemplatePath: config });
  assert.equal(await json.renderChat(user('a')), '<unk>');
});

async function templateError(tokenizer: Tokenizer, chat: ChatInput): Promise<string> {
  const error: unknown = await tokenizer.renderChat(chat).then(
    () => assert.fail('the template was rendered'),
    (reason: unknown) => reason,
  );
  assert.ok(error instanceof LoraxError);
  assert.equal(error.code, 'TEMPLATE');
  return String(error.params['reason']);
}

test('a chat that cannot be rendered says why', async () => {
  const raising = await open(data.folderOf(LLAMA));
  const twoUsers = { messages: [...user('a').messages, ...user('b').messages], addGenerationPrompt: true };
  assert.equal(await templateError(raising, twoUsers), 'roles must alternate');
  assert.match(await templateError(await open(withTemplate('{% if %}')), user('a')), /./);
  assert.equal(
    await templateError(await open(data.folderOf('unigram_t5')), user('a')),
    'the model has no chat template',
  );
  const odd = { ...user('a'), variables: { helper: () => 1 } };
  assert.match(await templateError(raising, odd), /cannot be sent/);
});

test('a template that never ends is stopped, and the next chat is rendered', async () => {
  const endless =
    "{% if messages[0].content == 'loop' %}{% for i in range(100000000) %}{% for j in range(100000000) %}{% endfor %}{% endfor %}{% endif %}fine";
  const tokenizer = await open(withTemplate(endless), { templateDeadlineMs: 150, workers: 1 });
  assert.match(await templateError(tokenizer, user('loop')), /longer than 150 ms/);
  assert.equal(await tokenizer.renderChat(user('x')), 'fine');
});

test('a template that fills the memory is stopped, and the next chat is rendered', async () => {
  const bomb =
    "{% if messages[0].content == 'bomb' %}{% set ns = namespace(l=['x']) %}{% for i in range(40) %}{% set ns.l = ns.l + ns.l %}{% endfor %}{% endif %}fine";
  const tokenizer = await open(withTemplate(bomb), { templateDeadlineMs: 60_000, workers: 1 });
  assert.match(await templateError(tokenizer, user('bomb')), /./);
  assert.equal(await tokenizer.renderChat(user('x')), 'fine');
});

test('a template cannot reach the process it runs in', async () => {
  const tokenizer = await open(
    withTemplate("[{{ messages.constructor }}{{ ''.constructor.constructor }}{{ process }}]"),
  );
  assert.equal(await tokenizer.renderChat(user('x')), '[]');
});
