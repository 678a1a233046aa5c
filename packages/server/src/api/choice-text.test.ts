import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { FinishReason, GeneratedToken } from '../scheduler/request.ts';
import { ChoiceText } from './choice-text.ts';

const token = (text: string, special = false): GeneratedToken => ({
  id: 1,
  text,
  logprob: -1,
  special,
  skipped: false,
});

/** What the generator's result holds: the text up to and with the stop string that ends first. */
function generated(text: string, stops: readonly string[]): { text: string; finishReason: FinishReason } {
  const ends = stops.flatMap((stop) => (text.includes(stop) ? [text.indexOf(stop) + stop.length] : []));
  if (ends.length === 0) return { text, finishReason: 'eos_token' };
  return { text: text.slice(0, Math.min(...ends)), finishReason: 'stop_sequence' };
}

function run(texts: readonly string[], stops: readonly string[]) {
  const result = {
    ...generated(texts.join(''), stops),
    generatedTokens: texts.length,
    skippedTokens: 0,
    seed: undefined,
  };
  const choice = new ChoiceText(stops);
  const pieces = [...texts.map((text) => choice.push(token(text))), choice.end(result)];
  return { pieces, result, text: pieces.map((piece) => piece.text).join('') };
}

const letters = fc.string({ unit: fc.constantFrom('a', 'b', 'c'), maxLength: 4 });
const stopStrings = fc.array(fc.string({ unit: fc.constantFrom('a', 'b'), minLength: 1, maxLength: 4 }), {
  maxLength: 3,
});

test('the pieces are the generated text without its stop string, however it is cut into tokens', () => {
  fc.assert(
    fc.property(fc.array(letters, { maxLength: 8 }), stopStrings, (texts, stops) => {
      const { text, result, pieces } = run(texts, stops);
      const ended = stops.filter((stop) => result.text.endsWith(stop)).map((stop) => stop.length);
      const cut = result.finishReason === 'stop_sequence' ? Math.max(...ended) : 0;
      assert.equal(text, result.text.slice(0, result.text.length - cut));
      assert.equal(pieces.at(-1)?.finishReason, 'stop');
    }),
  );
});

test('the tokens are those whose text begins in what is shown, each once and in order', () => {
  fc.assert(
    fc.property(fc.array(letters, { maxLength: 8 }), stopStrings, (texts, stops) => {
      const { text, pieces } = run(texts, stops);
      const tokens = pieces.flatMap((piece) => piece.tokens).map((each) => each.text);
      assert.deepEqual(tokens, texts.slice(0, tokens.length));
      const next = texts.slice(tokens.length).findIndex((each) => each !== '');
      if (next !== -1) assert.ok(tokens.join('').length >= text.length);
      const last = tokens.findLastIndex((each) => each !== '');
      if (last !== -1) assert.ok(tokens.slice(0, last).join('').length < text.length);
    }),
  );
});

test('special tokens are left out, the remains of an unfinished character come at the end', () => {
  const choice = new ChoiceText([]);
  assert.deepEqual(choice.push(token('</s>', true)), { text: '', tokens: [] });
  assert.equal(choice.push(token('a')).text, 'a');
  const result = {
    text: 'a\uFFFD',
    finishReason: 'length',
    generatedTokens: 2,
    skippedTokens: 0,
    seed: undefined,
  } as const;
  assert.deepEqual(choice.end(result), { text: '\uFFFD', tokens: [], finishReason: 'length' });
});
