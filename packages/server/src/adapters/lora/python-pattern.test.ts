import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { javascriptSource } from './python-pattern.ts';

/** Pattern, text, and what `re.fullmatch` of Python 3.11 says. */
const ANSWERS: readonly (readonly [string, string, boolean])[] = [
  ['a{,2}', '', true],
  ['a{,2}', 'aaa', false],
  ['a{2,}', 'aaaa', true],
  ['a{2}', 'aa', true],
  ['a{,}', 'aaa', true],
  ['a{x}', 'a{x}', true],
  ['a{}', 'a{}', true],
  ['a}', 'a}', true],
  ['a]', 'a]', true],
  ['[]a]', ']', true],
  ['[^]a]', ']', false],
  ['[[a]', '[', true],
  ['\\_', '_', true],
  ['\\-', '-', true],
  ['[a\\-c]', 'b', false],
  ['[\\d.]+', '1.5', true],
  ['\\Aa\\Z', 'a', true],
  ['(?P<x>a)b', 'ab', true],
  ['(?:a|b)+', 'abba', true],
  ['a(?=b).', 'ab', true],
  ['a(?!b).', 'ab', false],
  ['.(?<=a)b', 'ab', true],
  ['.(?<!a)b', 'ab', false],
  ['\\bab\\b', 'ab', true],
  ['a\\Bb', 'ab', true],
  ['\\x61\\u0062', 'ab', true],
  ['a\\.b', 'axb', false],
  ['a.*?b', 'axxb', true],
];

describe('the translation of Python patterns', () => {
  it('matches what Python matches', () => {
    for (const [python, text, expected] of ANSWERS) {
      const expression = new RegExp(`^(?:${javascriptSource(python)})$`, 'u');
      assert.equal(expression.test(text), expected, `${python} against ${JSON.stringify(text)}`);
    }
  });

  it('refuses what it cannot keep the meaning of', () => {
    for (const python of [
      '(?i)a',
      '(?>a)',
      '(?#x)',
      '(a)\\1',
      '(?P=x)',
      '\\pL',
      '\\k<x>',
      '[\\Z]',
      '[a',
      'a\\',
      '(?<x>a)',
    ]) {
      assert.throws(() => javascriptSource(python), SyntaxError, python);
    }
  });

  it('takes escaped text for that text', () => {
    const printable = fc.string({ unit: fc.integer({ min: 32, max: 126 }).map((code) => String.fromCharCode(code)) });
    fc.assert(
      fc.property(printable, (text) => {
        // Python's re.escape, and then some: every character that is neither a letter, a digit nor an underscore.
        const escaped = text.replace(/\W/g, '\\$&');
        assert.ok(new RegExp(`^(?:${javascriptSource(escaped)})$`, 'u').test(text));
      }),
    );
  });

  it('gives an expression or a SyntaxError for any text', () => {
    fc.assert(
      fc.property(fc.string(), (python) => {
        try {
          new RegExp(javascriptSource(python), 'u');
        } catch (error) {
          assert.ok(error instanceof SyntaxError);
        }
      }),
    );
  });
});
