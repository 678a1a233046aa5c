import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { LoraxError } from '../base/errors.ts';
import { temporaryFolder } from '../sources/testing/temporary-folder.ts';
import { readTrainingData } from './data-file.ts';

const QUESTION = { role: 'user', content: 'Why?' };
const ANSWER = { role: 'assistant', content: 'Because.' };
const CHAT = { kind: 'chat', messages: [QUESTION, ANSWER] };

describe('training data', () => {
  const read = (context: { after(clean: () => void): void }, text: string, name = 'data.json') => {
    const path = join(temporaryFolder(context), name);
    writeFileSync(path, text);
    return readTrainingData(path);
  };

  it('comes as ShareGPT, OpenAI messages, bare messages or prompts, in an array', async (context) => {
    const records = [
      {
        conversations: [
          { from: 'human', value: 'Why?' },
          { from: 'gpt', value: 'Because.' },
        ],
        id: 'x1',
      },
      { messages: [QUESTION, ANSWER] },
      [QUESTION, ANSWER],
      { prompt: 'Once', completion: ' upon' },
      { prompt: 'Once' },
    ];
    assert.deepEqual(await read(context, JSON.stringify(records, undefined, 2)), [
      ...[CHAT, CHAT, CHAT, { kind: 'text', prompt: 'Once', completion: ' upon' }],
      { kind: 'text', prompt: 'Once', completion: undefined },
    ]);
  });

  it('comes as JSON lines, with empty ones between, and the name decides where both would do', async (context) => {
    const lines = `${JSON.stringify({ messages: [QUESTION, ANSWER] })}\n\n${JSON.stringify({ messages: [QUESTION] })}`;
    const expected = [CHAT, { kind: 'chat', messages: [QUESTION] }];
    assert.deepEqual(await read(context, lines), expected);
    const arrays = `${JSON.stringify([QUESTION, ANSWER])}\n${JSON.stringify([QUESTION])}\n`;
    assert.deepEqual(await read(context, arrays, 'data.jsonl'), expected);
  });

  it("ShareGPT's roles are OpenAI's, and an answer without its question is left out", async (context) => {
    const turns = [
      { from: 'chatgpt', value: 'cut off' },
      { from: 'system', value: 'Be brief.' },
      { from: 'user', value: 'Why?' },
      { from: 'bard', value: 'Because.' },
    ];
    const [record] = await read(context, JSON.stringify([{ conversations: turns }]));
    assert.deepEqual(record, { kind: 'chat', messages: [{ role: 'system', content: 'Be brief.' }, QUESTION, ANSWER] });
  });

  const faults: [what: string, text: string, message: RegExp][] = [
    ['a line that is no JSON', '{"prompt": "a"}\n{', /^data\.json: line 2 is not valid JSON/],
    ['an array that is no JSON', '[{"prompt": "a"}', /^data\.json: the file is not valid JSON/],
    ['a turn without text', '{"conversations": [{"from": "gpt"}]}', /^data\.json: line 1: conversations\.0\.value: /],
    ['an unknown speaker', '[{"conversations": [{"from": "cat", "value": ""}]}]', /record 1: conversations\.0\.from: /],
    [
      'content that is no text',
      '[{"messages": [{"role": "user", "content": [1]}]}]',
      /record 1: messages\.0\.content: /,
    ],
    ['an empty conversation', '[{"prompt": "a"}, {"messages": []}]', /record 2: messages: /],
    ['a record of another kind', '[{"text": "a"}]', /record 1: has neither conversations, messages nor prompt/],
    ['a number', '[1]', /record 1: is neither an object nor an array/],
    [
      'nothing but an answer',
      '[{"conversations": [{"from": "gpt", "value": "a"}]}]',
      /record 1: .*nothing but an answer/,
    ],
    ['nothing at all', '\n \n', /holds no record/],
  ];
  for (const [what, text, message] of faults) {
    it(`refuses ${what}`, async (context) => {
      await assert.rejects(read(context, text), (error: unknown) => {
        assert.ok(error instanceof LoraxError && error.code === 'FILE_INVALID');
        assert.match(error.message, message);
        return true;
      });
    });
  }

  it('a file that is missing is named without its folder', async (context) => {
    const path = join(temporaryFolder(context), 'none.json');
    await assert.rejects(readTrainingData(path), { message: 'none.json: cannot be read' });
  });
});
