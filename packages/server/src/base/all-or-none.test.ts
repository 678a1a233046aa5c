import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { allOrNone } from './all-or-none.ts';

class Thing {
  isDisposed = false;
  dispose(): void {
    this.isDisposed = true;
  }
}

describe('several things made together', () => {
  it('come in their order', async () => {
    const things = [new Thing(), new Thing()];
    assert.deepEqual(await allOrNone(things.map((thing) => Promise.resolve(thing))), things);
    assert.ok(things.every(({ isDisposed }) => !isDisposed));
  });

  it('are disposed where one fails, also those that are ready after it', async () => {
    const [early, late] = [new Thing(), new Thing()];
    const slow = new Promise<Thing>((resolve) => void setTimeout(() => resolve(late), 5));
    await assert.rejects(allOrNone([Promise.resolve(early), Promise.reject(new Error('no room')), slow]), /no room/);
    assert.ok(early.isDisposed && late.isDisposed);
  });
});
