import assert from 'node:assert/strict';
import { after, afterEach, before, describe, it } from 'node:test';
import { LoraxError, type ErrorCode } from '../base/errors.ts';
import { GREEDY } from '../engine/sampling/params.ts';
import { finishReason, readAnswer, RequestSetting, type Answer } from '../testing/request-setting.ts';
import { textless } from '../testing/textless.ts';
import { BOS, EOS } from '../testing/tiny-model.ts';
import type { GenerationRequest } from './request.ts';

const bytes = (text: string): number[] => [...Buffer.from(text)];

function assertRefused({ error, tokens }: Answer, code: ErrorCode, message: RegExp): void {
  assert.ok(error instanceof LoraxError, String(error));
  assert.equal(error.code, code);
  assert.match(error.message, message);
  assert.deepEqual(tokens, []);
}

describe('a request', () => {
  let setting: RequestSetting;
  before(async () => void (setting = await RequestSetting.open()));
  after(() => setting.dispose());
  afterEach(() => {
    setting.backend.nextToken = () => undefined;
  });

  /** Lets the model say `text` byte by byte after a prompt of `promptLen` tokens, whatever it would say. */
  function script(promptLen: number, tokens: readonly number[]): void {
    setting.backend.nextToken = ({ position, tokens: computed }) => tokens[position + computed.length - promptLen];
  }

  it('is answered with the tokens that the model likes best, and their text', async () => {
    const prompt = [BOS, ...bytes('The cat had')];
    const ids: number[] = [];
    for (let i = 0; i < 6; i++) {
      const last = Array.from((await setting.engine.logitsOf([...prompt, ...ids])).at(-1)!);
      ids.push(last.indexOf(Math.max(...last)));
    }
    const generation = await setting.generate({ maxNewTokens: 6 });
    assert.deepEqual([generation.promptTokens, generation.promptText], [12, 'The cat had']);
    assert.deepEqual([generation.adapterGeneration, generation.prompt], [undefined, []]);
    const answer = await readAnswer(generation);
    assert.equal(finishReason(answer), 'length');
    assert.deepEqual(
      answer.tokens.map(({ id, skipped }) => [id, skipped]),
      ids.map((id) => [id, false]),
    );
    const text = setting.tokenizer.decode(ids, { skipSpecialTokens: true });
    assert.deepEqual(answer.result, {
      ...{ finishReason: 'length', text, generatedTokens: 6, skippedTokens: 0, seed: undefined },
    });
    assert.equal(answer.tokens.map((token) => token.text).join(''), text);
  });

  it('may bring its tokens itself, and ask for none of the special ones', async () => {
    const asText = await setting.answer({ prompt: { text: 'Once upon' }, addSpecialTokens: false });
    const asTokens = await setting.answer({ prompt: { tokens: bytes('Once upon') } });
    assert.deepEqual(asTokens, asText);
    const { promptText } = await setting.generate({ prompt: { tokens: [BOS, ...bytes('Once')] }, maxNewTokens: 1 });
    assert.equal(promptText, 'Once');
  });

  it('fills the context where it does not say how much it wants', async () => {
    const { result } = await setting.answer({ maxNewTokens: undefined });
    assert.equal(result?.generatedTokens, 128 - 12);
  });

  it('may want the prompt’s log-probabilities alone', async () => {
    const ids = [BOS, ...bytes('Once')];
    const rows = await setting.engine.logitsOf(ids);
    const generation = await setting.generate({ prompt: { text: 'Once' }, promptLogprobs: true, maxNewTokens: 0 });
    const { tokens, result } = await readAnswer(generation);
    assert.deepEqual([tokens, result?.finishReason, result?.generatedTokens, result?.text], [[], 'length', 0, '']);
    assert.deepEqual(
      generation.prompt.map(({ id, text }) => [id, text]),
      [[BOS, '<bos>'], ...Array.from('Once', (text) => [text.charCodeAt(0), text])],
    );
    assert.equal(generation.prompt[0]!.logprob, null);
    for (const [i, { id, logprob }] of generation.prompt.slice(1).entries()) {
      const row = Array.from(rows[i]!);
      const expected = row[id]! - Math.log(row.reduce((sum, logit) => sum + Math.exp(logit), 0));
      assert.ok(Math.abs(logprob! - expected) < 1e-4);
    }
  });

  it('has the prompt’s log-probabilities before its first token', async () => {
    const generation = await setting.generate({
      promptLogprobs: true,
      prompt: { tokens: Array(100).fill(65) as number[] },
    });
    for await (const event of generation.events) {
      assert.equal(event.kind, 'token');
      assert.equal(generation.prompt.length, 100);
      break;
    }
  });

  it('ends with the end-of-sequence token, which is not part of its text', async () => {
    script(1, [...bytes('hey'), EOS, ...bytes('more')]);
    const answer = await setting.answer({ prompt: { tokens: [BOS] }, ignoreEos: false, maxNewTokens: 8 });
    assert.equal(finishReason(answer), 'eos_token');
    assert.deepEqual([answer.result!.text, answer.result!.generatedTokens], ['hey', 4]);
    assert.deepEqual(
      answer.tokens.map(({ text, special }) => [text, special]),
      [
        ['h', false],
        ['e', false],
        ['y', false],
        ['<eos>', true],
      ],
    );
  });

  it('goes on behind the end of sequence where it asks to', async () => {
    script(1, [...bytes('hey'), EOS, ...bytes('more')]);
    const answer = await setting.answer({ prompt: { tokens: [BOS] }, maxNewTokens: 8 });
    assert.equal(finishReason(answer), 'length');
    assert.deepEqual([answer.result!.text, answer.result!.generatedTokens], ['heymore', 8]);
  });

  it('ends with a stop string, though it spans tokens', async () => {
    script(1, bytes('hello world'));
    const answer = await setting.answer({ prompt: { tokens: [BOS] }, stop: ['zzz', 'lo w'], maxNewTokens: 11 });
    assert.equal(finishReason(answer), 'stop_sequence');
    assert.deepEqual([answer.result!.text, answer.result!.generatedTokens], ['hello w', 7]);
    assert.equal(answer.tokens.map(({ text }) => text).join(''), 'hello w');
  });

  it('is told a stop string that its last allowed token completes', async () => {
    script(1, bytes('abc'));
    const answer = await setting.answer({ prompt: { tokens: [BOS] }, stop: ['bc'], maxNewTokens: 3 });
    assert.equal(finishReason(answer), 'stop_sequence');
  });

  it('shows a character of several tokens when it is whole, and what was held back at the end', async () => {
    script(1, [...bytes('é'), bytes('é')[0]!]);
    const answer = await setting.answer({ prompt: { tokens: [BOS] }, maxNewTokens: 3 });
    assert.deepEqual(
      answer.tokens.map(({ text }) => text),
      ['', 'é', '\ufffd'],
    );
    assert.equal(answer.result!.text, 'é\ufffd');
  });

  it('keeps the end of a prompt that it truncates', async () => {
    const generation = await setting.generate({ prompt: { text: 'a long way home' }, truncate: 4 });
    assert.deepEqual([generation.promptTokens, generation.promptText], [4, 'home']);
    const kept = await readAnswer(generation);
    assert.deepEqual(kept, await setting.answer({ prompt: { tokens: bytes('home') } }));
    const short = await setting.generate({ prompt: { text: 'home' }, truncate: 100, maxNewTokens: 1 });
    assert.equal(short.promptTokens, 5);
    await readAnswer(short);
  });

  it('gets alternatives, best first, with the text that each would have', async () => {
    const { tokens } = await setting.answer({ alternatives: 3, maxNewTokens: 2 });
    for (const { id, logprob, alternatives } of tokens) {
      assert.equal(alternatives?.length, 3);
      assert.deepEqual([alternatives[0]!.id, alternatives[0]!.logprob], [id, logprob]);
      assert.ok(alternatives[1]!.logprob <= logprob && alternatives[2]!.logprob <= alternatives[1]!.logprob);
    }
    const { tokens: plain } = await setting.answer({ maxNewTokens: 1 });
    assert.ok(!('alternatives' in plain[0]!));
  });

  it('is refused by the field', async () => {
    const ask = (request: Partial<GenerationRequest>): Promise<Answer> => setting.answer(request);
    const long = { text: 'x'.repeat(200) };
    assertRefused(
      await ask({ prompt: { tokens: [1, 264] } }),
      'VALIDATION',
      /^`inputs` has token id 264, outside the vocab/,
    );
    assertRefused(await ask({ prompt: { tokens: [-1] } }), 'VALIDATION', /^`inputs` has token id -1/);
    assertRefused(await ask({ prompt: { tokens: [1.5] } }), 'VALIDATION', /^`inputs` has token id 1\.5/);
    assertRefused(await ask({ prompt: { tokens: [] } }), 'VALIDATION', /^`inputs` must not be empty/);
    assertRefused(
      await ask({ prompt: { text: '' }, addSpecialTokens: false }),
      'VALIDATION',
      /^`inputs` must not be empty/,
    );
    assertRefused(await ask({ prompt: long }), 'VALIDATION', /^`inputs` has 201 tokens; at most 120 are allowed/);
    assertRefused(
      await ask({ maxNewTokens: 117 }),
      'VALIDATION',
      /^`max_new_tokens` is 117; with 12 prompt tokens at most 116 of 128 are left/,
    );
    assert.equal(finishReason(await ask({ prompt: long, truncate: 120, maxNewTokens: 8 })), 'length');
  });

  it('draws the same text for the same seed, alone and beside others', async () => {
    const sampling = { ...GREEDY, doSample: true, temperature: 1.2, seed: 2n ** 64n - 3n };
    const alone = await setting.answer({ sampling, maxNewTokens: 12 });
    assert.equal(alone.result!.seed, sampling.seed);
    const others = [4n, 5n, 6n].map((seed) => ({ sampling: { ...sampling, seed }, maxNewTokens: 9 }));
    const [together, ...rest] = await Promise.all(
      [{ sampling, maxNewTokens: 12 }, ...others].map((request) => setting.answer(request)),
    );
    assert.deepEqual(together!.result, alone.result);
    assert.deepEqual(
      together!.tokens.map(({ id }) => id),
      alone.tokens.map(({ id }) => id),
    );
    assert.equal(new Set([together!, ...rest].map(({ result }) => result!.text.slice(0, 6))).size, 4);
  });
});

describe('the number of requests in hand', () => {
  it('is limited, and every way out makes room again', async () => {
    const setting = await RequestSetting.open({ limits: { maxConcurrentRequests: 2 } });
    const adapter = setting.adapter({ rank: 4, targets: ['q_proj'] });
    const aborted = AbortSignal.abort();
    const waysOut: (() => Promise<unknown>)[] = [
      () => setting.answer({}),
      () => setting.answer({ adapter }),
      () => setting.answer({ prompt: { tokens: [] } }),
      () => setting.answer({ adapter: { id: 'not-there', source: 'local' } }),
      () => setting.answer({ adapter: { id: 'x', source: 's3' } }),
      () => setting.answer({ prompt: { tokens: [1] } }, aborted),
      () => setting.answer({ adapter }, aborted),
      async () => {
        for await (const _ of (await setting.generate({ maxNewTokens: 50 })).events) break;
        await setting.answer({ maxNewTokens: 1 });
      },
    ];
    for (const leave of waysOut) await leave();
    const first = await setting.generate({ maxNewTokens: 100 });
    const second = await setting.generate({ maxNewTokens: 100 });
    assertRefused(await setting.answer({}), 'OVERLOADED', /^the server already has 2 requests in hand$/);
    await Promise.all([readAnswer(first), readAnswer(second)]);
    assert.equal(finishReason(await setting.answer({})), 'length');
    await setting.dispose();
  });

  it('counts a request once whose prompt has no text, and computes nothing for it', async () => {
    const limits = { maxConcurrentRequests: 1 };
    const setting = await RequestSetting.open({ limits, wrapTokenizer: textless(90) });
    const { error } = await setting.answer({ prompt: { tokens: [90, ...bytes('after')] } });
    assert.match(String(error), /no text for 90/);
    const only = await setting.generate({ maxNewTokens: 100 });
    assertRefused(await setting.answer({}), 'OVERLOADED', /already has 1 requests/);
    await readAnswer(only);
    assert.ok(setting.backend.steps.flat().every(({ tokens }) => tokens[0] !== 90));
    await setting.dispose();
  });
});
