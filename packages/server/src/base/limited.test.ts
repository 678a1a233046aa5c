import assert from 'node:assert/strict';
import { getEventListeners } from 'node:events';
import { describe, it } from 'node:test';
import { mapLimited } from './limited.ts';

/** Work that ends when it is told to. */
class HeldWork {
  readonly begun: number[] = [];
  readonly #held = new Map<number, { resolve(value: string): void; reject(error: Error): void }>();

  readonly run = (item: number): Promise<string> => {
    this.begun.push(item);
    return new Promise((resolve, reject) => this.#held.set(item, { resolve, reject }));
  };

  /** Whoever waits for it has gone on afterwards. */
  async finish(item: number): Promise<void> {
    this.#held.get(item)!.resolve(`done ${item}`);
    await new Promise(setImmediate);
  }

  async fail(item: number): Promise<void> {
    this.#held.get(item)!.reject(new Error(`failed ${item}`));
    await new Promise(setImmediate);
  }
}

describe('mapLimited', () => {
  const { signal } = new AbortController();

  it('runs a few at a time, and gives the results in the order of the items', async () => {
    const work = new HeldWork();
    const mapped = mapLimited([0, 1, 2, 3], 2, signal, work.run);
    assert.deepEqual(work.begun, [0, 1]);
    await work.finish(1);
    assert.deepEqual(work.begun, [0, 1, 2]);
    await work.finish(2);
    await work.finish(3);
    await work.finish(0);
    assert.deepEqual(await mapped, ['done 0', 'done 1', 'done 2', 'done 3']);
    assert.equal(getEventListeners(signal, 'abort').length, 0);
  });

  it('begins nothing after a failure, and tells it once everything under way has ended', async () => {
    const work = new HeldWork();
    let outcome: unknown;
    const mapped = mapLimited([0, 1, 2], 2, signal, work.run).catch((error: unknown) => (outcome = error));
    await work.fail(1);
    assert.equal(outcome, undefined);
    await work.fail(0);
    await mapped;
    assert.match(String(outcome), /failed 1/);
    assert.deepEqual(work.begun, [0, 1]);
  });

  it('begins nothing once it is aborted', async () => {
    const work = new HeldWork();
    const controller = new AbortController();
    const refused = assert.rejects(mapLimited([0, 1], 1, controller.signal, work.run), /no more/);
    controller.abort(new Error('no more'));
    await work.finish(0);
    await refused;
    assert.deepEqual(work.begun, [0]);
    await assert.rejects(mapLimited([0], 1, controller.signal, work.run), /no more/);
    assert.equal(getEventListeners(controller.signal, 'abort').length, 0);
  });
});
