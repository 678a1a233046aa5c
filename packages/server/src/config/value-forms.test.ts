import assert from 'node:assert/strict';
import { isAbsolute } from 'node:path';
import { test } from 'node:test';

import fc from 'fast-check';

import {
  choice,
  decimal,
  integer,
  list,
  path,
  positive,
  REPEAT_SEPARATOR,
  text,
  texts,
  toggle,
  uint64,
} from './value-forms.ts';

const FORMS = {
  integer: integer(1, 100),
  decimal: decimal(-1, 1),
  positive: positive(1),
  uint64: uint64(),
  text: text('T'),
  path: path('P'),
  choice: choice('C', ['a', 'b']),
  list: list('L'),
  texts: texts('T'),
  toggle: toggle(),
};

test('whatever is written, the answer is a value or one line that says what was expected', () => {
  fc.assert(
    fc.property(fc.constantFrom(...Object.values(FORMS)), fc.string(), (form, written) => {
      const result = form.schema.safeParse(written);
      if (!result.success) assert.match(result.error.issues[0]?.message ?? '', /^must [^\n]+$/);
    }),
  );
});

test('whole numbers within the bounds are taken as written, all others refused', () => {
  fc.assert(
    fc.property(fc.integer({ min: -200, max: 200 }), (value) => {
      const result = FORMS.integer.schema.safeParse(String(value));
      assert.equal(result.success, value >= 1 && value <= 100);
      if (result.success) assert.equal(result.data, value);
    }),
  );
});

test('numbers between the bounds are taken, all others refused', () => {
  fc.assert(
    fc.property(fc.double({ min: -2, max: 2, noNaN: true }), (value) => {
      const result = FORMS.decimal.schema.safeParse(String(value));
      assert.equal(result.success, value >= -1 && value <= 1);
      if (result.success) assert.equal(result.data, Number(String(value)));
      assert.equal(FORMS.positive.schema.safeParse(String(value)).success, value > 0 && value <= 1);
    }),
  );
});

test('seeds keep all 64 bits', () => {
  fc.assert(
    fc.property(fc.bigInt({ min: 0n, max: 2n ** 65n }), (value) => {
      const result = FORMS.uint64.schema.safeParse(String(value));
      assert.equal(result.success, value < 2n ** 64n);
      if (result.success) assert.equal(result.data, value);
    }),
  );
});

test('texts that were given one by one come back as they are, commas and all', () => {
  const argument = fc.string({ minLength: 1 }).filter((value) => !value.includes(REPEAT_SEPARATOR));
  fc.assert(
    fc.property(fc.array(argument, { minLength: 1 }), (values) => {
      assert.deepEqual(FORMS.texts.schema.parse(values.join(REPEAT_SEPARATOR)), values);
    }),
  );
});

test('paths are made absolute', () => {
  const value = FORMS.path.schema.parse('some/folder');
  assert.ok(isAbsolute(value) && value.endsWith('folder'));
});

test('a switch knows the words that LoRAX took', () => {
  for (const word of ['true', 'YES', '1', 'on']) assert.equal(FORMS.toggle.schema.parse(word), true);
  for (const word of ['false', 'No', '0', 'off']) assert.equal(FORMS.toggle.schema.parse(word), false);
});
