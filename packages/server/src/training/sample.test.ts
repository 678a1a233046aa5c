import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import fc from 'fast-check';
import { IGNORED_LABEL } from '../backend/training.ts';
import { openTokenizer } from '../text/hf-tokenizer.ts';
import type { ChatMessage, Tokenizer } from '../text/tokenizer.ts';
import { learntText } from './learnt-text.ts';
import { labelSample, makeSample, type Sample } from './sample.ts';
import type { TrainingText } from './training-text.ts';

const DEMO = dirname(createRequire(import.meta.url).resolve('@lorax/demo-model/package.json'));
const { signal } = new AbortController();

describe('labels of heads', () => {
  it('head k at position t learns the token at t + 2 + k where that is learnt', () => {
    const token = fc.record({ id: fc.nat(1000), isLearnt: fc.boolean() });
    fc.assert(
      fc.property(fc.array(token, { maxLength: 30 }), fc.integer({ min: 1, max: 5 }), (text, headCount) => {
        const tokens = text.map(({ id }) => id);
        const { rows, labels } = labelSample(
          tokens,
          text.map(({ isLearnt }) => isLearnt),
          headCount,
        );
        const expected = tokens.map((_, position) =>
          Array.from({ length: headCount }, (_, head) => {
            const target = text[position + 2 + head];
            return target?.isLearnt ? target.id : IGNORED_LABEL;
          }),
        );
        const taught = expected.flatMap((own, position) =>
          own.some((label) => label !== IGNORED_LABEL) ? [position] : [],
        );
        assert.deepEqual([...rows], taught);
        assert.deepEqual(
          taught.map((_, row) => labels.map((own) => own[row])),
          taught.map((position) => expected[position]),
        );
      }),
    );
  });
});

describe('samples', () => {
  let tokenizer: Tokenizer;
  before(async () => {
    tokenizer = await openTokenizer(join(DEMO, 'base'));
  });
  after(() => tokenizer.dispose());

  const sample = async (record: TrainingText, using = tokenizer, maxLen = 1000): Promise<Sample> =>
    makeSample(using, await learntText(using, record, signal), { headCount: 1, maxLen }, signal);

  /** Text of the tokens that the first head learns. */
  const learnt = ({ labels }: Sample): string =>
    tokenizer.decode(
      [...labels[0]!].filter((label) => label !== IGNORED_LABEL),
      { skipSpecialTokens: false },
    );

  it('exactly the answers and what ends them are learnt', async () => {
    const word = fc.stringMatching(/^[a-zA-Zäß😀,.!? ]{1,12}$/u);
    await fc.assert(
      fc.asyncProperty(fc.array(fc.tuple(word, word), { minLength: 1, maxLength: 3 }), async (turns) => {
        const messages = turns.flatMap(([question, answer]) => [
          { role: 'user', content: question },
          { role: 'assistant', content: answer },
        ]);
        const made = await sample({ kind: 'chat', messages });
        assert.equal(learnt(made), turns.map(([, answer]) => `${answer}<|end|>`).join(''));
        const whole = await tokenizer.renderChat({ messages, addGenerationPrompt: false });
        assert.deepEqual(made.tokens, await tokenizer.encode(whole, false));
      }),
      { numRuns: 40 },
    );
  });

  it('an answer that occurs in its own question is found in its own place', async () => {
    const messages = [
      { role: 'user', content: 'Say: yes. Then say: yes.' },
      { role: 'assistant', content: 'yes.' },
      { role: 'user', content: 'Again: yes.' },
    ];
    const { tokens, labels, rows } = await sample({ kind: 'chat', messages });
    const [first, ...rest] = await tokenizer.encode('yes.<|end|>', false);
    const asked = await tokenizer.renderChat({ messages: messages.slice(0, 1), addGenerationPrompt: true });
    const start = (await tokenizer.encode(asked, false)).length;
    assert.deepEqual([...labels[0]!], [first, ...rest]);
    assert.deepEqual(
      [...rows],
      [...labels[0]!].map((_, i) => start + i - 2),
    );
    assert.equal(tokens[start], first);
  });

  it('a completion is learnt behind its prompt, with the special token in front that prompts get', async () => {
    const record = { kind: 'text', prompt: 'Once upon a time', completion: ' there was a king.' } as const;
    const made = await sample(record);
    assert.equal(learnt(made), record.completion);
    assert.deepEqual(made.tokens, await tokenizer.encode(record.prompt + record.completion, true));
  });

  it('a model without a template learns the answers of joined turns', async () => {
    const plain: Tokenizer = Object.assign(Object.create(tokenizer) as Tokenizer, {
      hasChatTemplate: false,
      encode: tokenizer.encode.bind(tokenizer),
      spans: tokenizer.spans.bind(tokenizer),
    });
    const messages = ['A fox', ' ran', ' far', ' away'].map((content, i) => ({
      role: i % 2 ? 'assistant' : 'user',
      content,
    }));
    assert.equal(learnt(await sample({ kind: 'chat', messages }, plain)), ' ran away');
  });

  it('what lies behind the longest length is cut off', async () => {
    const record = { kind: 'text', prompt: 'Once upon a time', completion: ' there was a king.' } as const;
    const whole = await sample(record);
    const cut = await sample(record, tokenizer, whole.tokens.length - 2);
    assert.deepEqual(cut.tokens, whole.tokens.slice(0, -2));
    assert.deepEqual([...cut.labels[0]!], [...whole.labels[0]!].slice(0, -2));
  });

  it('ChatML: the line feed behind the end is not learnt', async () => {
    const chatMl = templated(
      (messages, asks) => messages.map(chatMlTurn).join('') + (asks ? '<|im_start|>assistant\n' : ''),
    );
    const { text, learnt: stretches, lostTurns } = await learntText(chatMl, chat('a\n'), signal);
    assert.equal(lostTurns, 0);
    assert.deepEqual(
      stretches.map(({ start, stop }) => text.slice(start, stop)),
      ['a\n<|im_end|>'],
    );
  });

  it('answers that the template writes otherwise once others follow are counted, not learnt', async () => {
    const thinking = templated(
      (messages, asks) =>
        messages
          .map(
            (message, i) =>
              (i === messages.length - 1 && message.role === 'assistant' ? '<think>' : '') + chatMlTurn(message),
          )
          .join('') + (asks ? '<|im_start|>assistant\n' : ''),
    );
    const { learnt: stretches, lostTurns } = await learntText(thinking, chat('a', 'b'), signal);
    assert.deepEqual([stretches.length, lostTurns], [0, 2]);
  });
});

const chat = (...answers: string[]): TrainingText => ({
  kind: 'chat',
  messages: answers.flatMap((content) => [
    { role: 'user', content: 'q' },
    { role: 'assistant', content },
  ]),
});

const chatMlTurn = ({ role, content }: ChatMessage): string => `<|im_start|>${role}\n${content}<|im_end|>\n`;

/** Only what rendering asks for. */
function templated(render: (messages: readonly ChatMessage[], asks: boolean) => string): Tokenizer {
  const renderChat: Tokenizer['renderChat'] = async ({ messages, addGenerationPrompt }) =>
    render(messages, addGenerationPrompt);
  return { hasChatTemplate: true, renderChat } as Tokenizer;
}
