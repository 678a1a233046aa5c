import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { headerSafe } from './headers.ts';

test('any text becomes a header value, and two texts never the same one', () => {
  const text = fc.string({ unit: 'binary' });
  fc.assert(
    fc.property(text, (value) => {
      const safe = headerSafe(value);
      assert.match(safe, /^[\x21-\x7e]*$/);
      assert.equal(decodeURIComponent(safe), Buffer.from(value).toString());
    }),
  );
});

test('plain ids stay as they are', () => {
  assert.equal(headerSafe('org/poet-v1.2@main'), 'org/poet-v1.2@main');
  assert.equal(headerSafe('100%'), '100%25');
  assert.equal(headerSafe('\ud800'), '%EF%BF%BD');
});
