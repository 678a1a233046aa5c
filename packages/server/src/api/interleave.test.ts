import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { interleave, primed } from './interleave.ts';

async function* slow(items: readonly number[], turns: number): AsyncGenerator<number, void, undefined> {
  for (const item of items) {
    for (let turn = 0; turn < turns; turn++) await Promise.resolve();
    yield item;
  }
}

test('every item comes once, in its stream’s order', async () => {
  const streams = fc.array(fc.tuple(fc.array(fc.integer()), fc.nat(5)), { maxLength: 5 });
  await fc.assert(
    fc.asyncProperty(streams, async (inputs) => {
      const received: number[][] = inputs.map(() => []);
      for await (const { index, item } of interleave(inputs.map(([items, turns]) => slow(items, turns)))) {
        received[index]?.push(item);
      }
      assert.deepEqual(
        received,
        inputs.map(([items]) => items),
      );
    }),
  );
});

test('a failing stream fails the whole', async () => {
  async function* failing(): AsyncGenerator<number, void, undefined> {
    yield 1;
    throw new Error('broken');
  }
  const all = async () => {
    const items = [];
    for await (const { item } of interleave([slow([1, 2, 3], 9), failing()])) items.push(item);
  };
  await assert.rejects(all(), /broken/);
});

test('no stream is asked for more than one item ahead', async () => {
  const asked = [0, 0];
  const counting = (index: number): AsyncIterable<number> => ({
    [Symbol.asyncIterator]: () => ({
      next: async () => ({ done: false, value: (asked[index] = (asked[index] ?? 0) + 1) }),
    }),
  });
  const merged = interleave([counting(0), counting(1)]);
  const taken = [0, 0];
  for (let count = 0; count < 20; count++) {
    const step = await merged.next();
    if (step.done !== true) taken[step.value.index] = (taken[step.value.index] ?? 0) + 1;
    for (const index of [0, 1]) assert.ok((asked[index] ?? 0) <= (taken[index] ?? 0) + 1);
  }
});

test('primed waits for the first item and loses none', async () => {
  const items = [];
  for await (const item of await primed(slow([1, 2, 3], 1))) items.push(item);
  assert.deepEqual(items, [1, 2, 3]);
  for await (const item of await primed(slow([], 1))) assert.fail(String(item));
  const failing: AsyncIterable<number> = {
    [Symbol.asyncIterator]: () => ({ next: () => Promise.reject(new Error('early')) }),
  };
  await assert.rejects(primed(failing), /early/);
});
