import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { Channel } from './channel.ts';

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

async function collect<T>(channel: Channel<T>): Promise<T[]> {
  const items: T[] = [];
  for await (const item of channel) items.push(item);
  return items;
}

describe('Channel', () => {
  it('gives every item once and in order, whenever it is sent', async () => {
    const burst = fc.record({ count: fc.nat(4), waits: fc.boolean() });
    await fc.assert(
      fc.asyncProperty(fc.array(burst, { maxLength: 12 }), fc.boolean(), async (bursts, listensFirst) => {
        const channel = new Channel<number>();
        const early = listensFirst ? collect(channel) : undefined;
        let sent = 0;
        for (const { count, waits } of bursts) {
          for (let i = 0; i < count; i++) channel.send(sent++);
          if (waits) await turn();
        }
        channel.end();
        const items = await (early ?? collect(channel));
        assert.deepEqual(
          items,
          Array.from({ length: sent }, (_, i) => i),
        );
      }),
      { seed: 1, numRuns: 60 },
    );
  });

  it('counts what nobody has read', () => {
    const channel = new Channel<string>();
    channel.send('a');
    channel.send('b');
    assert.equal(channel.length, 2);
  });

  it('drops what comes after the end', async () => {
    const channel = new Channel<string>();
    channel.send('a');
    channel.end();
    channel.send('b');
    channel.fail(new Error('too late'));
    assert.deepEqual(await collect(channel), ['a']);
  });

  it('gives what was sent before it failed, then the error', async () => {
    const channel = new Channel<string>();
    channel.send('a');
    channel.fail(new Error('broken'));
    channel.fail(new Error('twice'));
    const items: string[] = [];
    const reading = async (): Promise<void> => {
      for await (const item of channel) items.push(item);
    };
    await assert.rejects(reading(), /broken/);
    assert.deepEqual(items, ['a']);
  });

  it('wakes a waiting consumer with the error', async () => {
    const channel = new Channel<string>();
    const reading = collect(channel);
    await turn();
    channel.fail(new Error('broken'));
    await assert.rejects(reading, /broken/);
  });

  it('tells its owner when the consumer stops early', async () => {
    let returned = 0;
    const channel = new Channel<number>(() => returned++);
    for (const i of [1, 2, 3]) channel.send(i);
    for await (const item of channel) if (item === 2) break;
    assert.equal(returned, 1);
    channel.send(4);
    assert.equal(channel.length, 0);
  });

  it('tells its owner when the consumer throws', async () => {
    let returned = 0;
    const channel = new Channel<number>(() => returned++);
    channel.send(1);
    const reading = async (): Promise<void> => {
      for await (const item of channel) throw new Error(`item ${item}`);
    };
    await assert.rejects(reading(), /item 1/);
    assert.equal(returned, 1);
  });

  it('says nothing to its owner after an end or an error', async () => {
    let returned = 0;
    const ended = new Channel<number>(() => returned++);
    ended.end();
    await collect(ended);
    const failed = new Channel<number>(() => returned++);
    failed.fail(new Error('broken'));
    await assert.rejects(collect(failed));
    assert.equal(returned, 0);
  });
});
