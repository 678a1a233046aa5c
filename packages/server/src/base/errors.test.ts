import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { ERRORS, invalidField, LoraxError } from './errors.ts';

describe('LoraxError', () => {
  it('fills its message and keeps what it was filled with', () => {
    const cause = new Error('the file is gone');
    const error = new LoraxError('ADAPTER_NOT_FOUND', { adapterId: 'a/b', source: 'local' }, { cause, details: [1] });
    assert.equal(error.message, 'adapter `a/b` was not found in source `local`');
    assert.deepEqual(error.params, { adapterId: 'a/b', source: 'local' });
    assert.deepEqual(
      [error.name, error.code, error.cause, error.details],
      ['LoraxError', 'ADAPTER_NOT_FOUND', cause, [1]],
    );
    assert.equal(error.spec, ERRORS.ADAPTER_NOT_FOUND);
  });

  it('fills with numbers and takes values as they are', () => {
    assert.equal(new LoraxError('OVERLOADED', { limit: 0 }).message, 'the server already has 0 requests in hand');
    const braces = new LoraxError('GENERATION', { reason: '{reason} $& {other}' });
    assert.equal(braces.message, 'the request failed during generation: {reason} $& {other}');
  });

  it('shows a parameter that was forgotten', () => {
    assert.equal(new LoraxError('UNHEALTHY').message, 'unhealthy: {reason}');
  });

  it('names the field of a rejected request', () => {
    const error = invalidField('max_new_tokens', 'is too large');
    assert.deepEqual([error.spec.status, error.message], [422, '`max_new_tokens` is too large']);
  });

  it('has statuses and kinds that clients know', () => {
    for (const [code, { status, errorType, openaiType, message }] of Object.entries(ERRORS)) {
      assert.ok(status >= 400 && status < 600, code);
      assert.match(errorType, /^[a-z_]+$/, code);
      assert.match(openaiType, /^[a-z_]+_error$/, code);
      assert.ok(message.length > 0, code);
    }
  });
});
