import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { parseJsonObject } from './strict-json.ts';

const parse = (json: string) => parseJsonObject(Buffer.from(json));

test('objects with unique keys are read as JSON.parse reads them', () => {
  const objects = fc.dictionary(fc.string({ unit: 'binary' }), fc.jsonValue());
  fc.assert(
    fc.property(objects, fc.nat(2), (object, indent) => {
      const json = JSON.stringify(object, undefined, indent);
      assert.deepEqual(parse(json), JSON.parse(json));
    }),
  );
});

test('a key that stands twice in one object is refused, however it is spelt', () => {
  for (const json of [
    '{"a":1,"a":1}',
    '{"a":1,"\\u0061":2}',
    '{"x":[{"b":{},"c":"}","b":0}]}',
    '{"\\"":1,"\\u0022":2}',
    '{"__proto__":1,"__proto__":1}',
  ]) {
    assert.throws(() => parse(json), /a key twice/, json);
  }
});

test('the same key in different objects is allowed', () => {
  const json = '{"a":{"a":{"a":1}},"b":[{"a":1},{"a":"{\\"a\\":1,\\"a\\":2}"}]}';
  assert.deepEqual(parse(json), JSON.parse(json));
});

test('__proto__ is an ordinary key', () => {
  const object = parse('{"__proto__":{"polluted":true}}');
  assert.deepEqual(Object.keys(object), ['__proto__']);
  assert.equal(Reflect.get({}, 'polluted'), undefined);
  assert.equal(object['polluted'], undefined);
});

test('anything that is not a UTF-8 JSON object is refused', () => {
  for (const json of ['', '[]', 'null', '1', '"a"', '{', '{"a":01}', '{} {}', '\ufeff{}']) {
    assert.throws(() => parse(json), SyntaxError, json);
  }
  assert.throws(() => parseJsonObject(Buffer.from([0x7b, 0x22, 0xff, 0x22, 0x3a, 0x31, 0x7d])), TypeError);
});

test('long strings and deep nesting need no stack', () => {
  assert.equal(Object.keys(parse(`{"${'x'.repeat(5_000_000)}":1}`)).length, 1);
  const depth = 200_000;
  assert.ok('a' in parse(`{"a":${'['.repeat(depth)}${']'.repeat(depth)}}`));
});
