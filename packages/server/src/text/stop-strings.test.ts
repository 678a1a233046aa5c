import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { StopStringMatcher } from './stop-strings.ts';

interface Outcome {
  readonly inclusive: string;
  readonly exclusive: string;
  readonly stop: string | undefined;
}

function run(stops: readonly string[], chunks: readonly string[]): Outcome {
  const matcher = new StopStringMatcher(stops);
  let inclusive = '';
  let exclusive = '';
  let stop: string | undefined;
  for (const chunk of chunks) {
    const progress = matcher.push(chunk);
    inclusive += progress.inclusive;
    exclusive += progress.exclusive;
    stop ??= progress.stop;
  }
  return { inclusive, exclusive: exclusive + matcher.flush(), stop };
}

/** The definition, character by character: cut where a stop string first ends; of several, the longest. */
function naive(stops: readonly string[], text: string): Outcome {
  for (let end = 1; end <= text.length; end++) {
    const inclusive = text.slice(0, end);
    const [stop] = stops.filter((each) => inclusive.endsWith(each)).sort((a, b) => b.length - a.length);
    if (stop !== undefined) return { inclusive, exclusive: inclusive.slice(0, -stop.length), stop };
  }
  return { inclusive: text, exclusive: text, stop: undefined };
}

const word = fc.string({ unit: fc.constantFrom('a', 'b', 'c'), maxLength: 8 });
const stopList = fc.array(fc.string({ unit: fc.constantFrom('a', 'b', 'c'), minLength: 1, maxLength: 5 }), {
  maxLength: 4,
});

test('finds what the definition says, however the text is cut into pieces', () => {
  fc.assert(
    fc.property(stopList, fc.array(word, { maxLength: 12 }), (stops, chunks) => {
      assert.deepEqual(run(stops, chunks), naive(stops, chunks.join('')));
    }),
    { numRuns: 3000 },
  );
});

test('what it lets through is never the beginning of the stop string that follows, and holds back no more than needed', () => {
  fc.assert(
    fc.property(stopList, fc.array(word, { maxLength: 12 }), (stops, chunks) => {
      const matcher = new StopStringMatcher(stops);
      const wanted = naive(stops, chunks.join('')).exclusive;
      let pushed = '';
      let emitted = '';
      for (const chunk of chunks) {
        const { exclusive, stop } = matcher.push(chunk);
        pushed += chunk;
        emitted += exclusive;
        assert.ok(wanted.startsWith(emitted));
        if (stop !== undefined) return;
        const held = pushed.slice(emitted.length);
        assert.ok(held === '' || stops.some((each) => each.startsWith(held)), `held ${held}`);
      }
    }),
    { numRuns: 2000 },
  );
});

test('a stop string inside one piece cuts the piece', () => {
  const matcher = new StopStringMatcher(['\n\n']);
  assert.deepEqual(matcher.push('one.\n\ntwo'), { inclusive: 'one.\n\n', exclusive: 'one.', stop: '\n\n' });
});

test('a stop string over several pieces is found and never shown', () => {
  const matcher = new StopStringMatcher(['</answer>']);
  const shown = ['42', '</', 'ans', 'wer', '> more'].map((piece) => matcher.push(piece));
  assert.equal(shown.map(({ exclusive }) => exclusive).join(''), '42');
  assert.equal(shown.map(({ inclusive }) => inclusive).join(''), '42</answer>');
  assert.equal(shown.at(-1)?.stop, '</answer>');
});

test('text that only began like a stop string comes as soon as it differs, or at the end', () => {
  const matcher = new StopStringMatcher(['</s>']);
  assert.equal(matcher.push('a <').exclusive, 'a ');
  assert.equal(matcher.push('b').exclusive, '<b');
  assert.equal(matcher.push('</').exclusive, '');
  assert.equal(matcher.flush(), '</');
});

test('after a stop string nothing counts', () => {
  const matcher = new StopStringMatcher(['x']);
  matcher.push('ax');
  assert.deepEqual(matcher.push('bx'), { inclusive: '', exclusive: '', stop: undefined });
  assert.equal(matcher.flush(), '');
});

test('characters with regular expression meaning are plain', () => {
  assert.equal(run(['.*|stop|$'], ['a.*', '|stop|', '$b']).inclusive, 'a.*|stop|$');
});

test('without stop strings everything passes at once', () => {
  assert.deepEqual(new StopStringMatcher([]).push('abc'), { inclusive: 'abc', exclusive: 'abc', stop: undefined });
});
