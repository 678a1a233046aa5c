import assert from 'node:assert/strict';
import { test } from 'node:test';

import fc from 'fast-check';

import { accessKeys } from './access-keys.ts';
import { readServe } from './testing.ts';
import { REPEAT_SEPARATOR } from './value-forms.ts';

const { schema } = accessKeys('key');
const messageOf = (written: string) => schema.safeParse(written).error?.issues[0]?.message;

const letters = 'abcXYZ019._-'.split('');
const name = fc.string({ unit: fc.constantFrom(...letters), maxLength: 10 }).map((rest) => `a${rest}`);
const key = fc.string({ unit: fc.constantFrom(...letters, '=', '/', '+', '~', '!', '"'), minLength: 8, maxLength: 30 });

test('a name ends at the first =, whatever the key contains', () => {
  fc.assert(
    fc.property(name, key, (given, secret) => {
      assert.deepEqual(schema.parse(`${given}=${secret}`), [{ name: given, key: secret }]);
      assert.deepEqual(schema.parse(`=${secret}`), [{ name: 'key-1', key: secret }]);
    }),
  );
});

test('a key without a name is called by its place', () => {
  const expected = [
    { name: 'key-1', key: 'first-of-all' },
    { name: 'b', key: 'second-one' },
    { name: 'key-3', key: 'third-of-all' },
  ];
  assert.deepEqual(schema.parse('first-of-all, b=second-one,third-of-all'), expected);
  assert.deepEqual(schema.parse(['first-of-all', 'b=second-one', 'third-of-all'].join(REPEAT_SEPARATOR)), expected);
});

test('what cannot be told apart is refused and not guessed: padding that looks like a name, an empty variable', () => {
  assert.match(messageOf('c2VjcmV0LXNlY3JldA==') ?? '', /^must have keys .* is written NAME=KEY or =KEY$/);
  assert.match(messageOf('production-team=') ?? '', /^must have keys /);
  assert.deepEqual(schema.parse('=c2VjcmV0LXNlY3JldA==')[0]?.key, 'c2VjcmV0LXNlY3JldA==');
});

test('keys are visible ASCII of 8 to 512 characters', () => {
  assert.equal(schema.parse('x'.repeat(512)).length, 1);
  for (const bad of ['1234567', 'x'.repeat(513), 'with space', 'schlüssel-1', 'tab\tin-side', 'null\u0001byte']) {
    assert.match(messageOf(bad) ?? '', /^must have keys of 8 to 512 visible ASCII/, bad);
  }
  for (const bad of ['two words=12345678', '-a=12345678', `${'n'.repeat(65)}=12345678`]) {
    assert.match(messageOf(bad) ?? '', /^must have names /, bad);
  }
});

test('a flag without a key is refused, and an empty variable is not given', () => {
  for (const nothing of ['', ' ', ',', REPEAT_SEPARATOR]) assert.equal(messageOf(nothing), 'must have a key');
  assert.throws(() => readServe(['--demo', '--api-key', '']), { code: 'OPTION_INVALID' });
  assert.deepEqual(readServe(['--demo'], { API_KEY: '' }).options.apiKey, []);
  assert.deepEqual(readServe(['--demo'], { API_KEY: 'a=12345678' }).options.apiKey, [{ name: 'a', key: '12345678' }]);
});

test('names and keys are each there once, also over both options', () => {
  assert.equal(messageOf('a=12345678,a=abcdefgh'), 'must not name two keys a');
  assert.equal(messageOf('a=12345678,b=12345678'), 'must not have one key under two names, a and b');
  assert.equal(messageOf('12345678,key-1=abcdefgh'), 'must not name two keys key-1');
  const both = (api: string, admin: string) => () => readServe(['--demo', '--api-key', api, '--admin-key', admin]);
  assert.throws(both('a=12345678', 'b=12345678'), { code: 'OPTION_INVALID', message: /^option --admin-key: must not/ });
  assert.throws(both('a=12345678', 'a=abcdefgh'), { code: 'OPTION_INVALID' });
  const { apiKey, adminKey } = both('12345678', 'abcdefgh')().options;
  assert.deepEqual(
    [...apiKey, ...adminKey].map((given) => given.name),
    ['key-1', 'admin-1'],
  );
});

test('no message repeats a key', () => {
  fc.assert(
    fc.property(fc.constantFrom('a b=', 'a=', '', 'x=1,y='), fc.string({ minLength: 4 }), (start, secret) => {
      const marked = `${start}s3cr3t!${secret}`;
      assert.ok(!(messageOf(marked) ?? '').includes('s3cr3t!'));
    }),
  );
});
