import assert from 'node:assert/strict';
import { getEventListeners } from 'node:events';
import { describe, it } from 'node:test';
import { untilAborted } from './until-aborted.ts';

describe('untilAborted', () => {
  const reason = new Error('gone');
  const never = new Promise<string>(() => undefined);

  it('gives what the work gives', async () => {
    const { signal } = new AbortController();
    assert.equal(await untilAborted(Promise.resolve('done'), signal), 'done');
    await assert.rejects(untilAborted(Promise.reject(new Error('broken')), signal), /broken/);
    assert.equal(getEventListeners(signal, 'abort').length, 0);
  });

  it('ends with the signal’s reason, whether it comes before or while', async () => {
    const controller = new AbortController();
    const waiting = untilAborted(never, controller.signal);
    controller.abort(reason);
    await assert.rejects(waiting, reason);
    await assert.rejects(untilAborted(never, controller.signal), reason);
    assert.equal(getEventListeners(controller.signal, 'abort').length, 0);
  });

  it('lets work fail that nobody waits for any more', async () => {
    let fail = (_: Error): void => undefined;
    const work = new Promise<void>((_, reject) => (fail = reject));
    await assert.rejects(untilAborted(work, AbortSignal.abort(reason)), reason);
    fail(new Error('too late'));
    await new Promise((resolve) => setImmediate(resolve));
  });
});
