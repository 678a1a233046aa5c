import assert from 'node:assert/strict';
import { getEventListeners } from 'node:events';
import { afterEach, test } from 'node:test';
import { LoraxError } from '../base/errors.ts';
import { liveHandles } from '../base/handles.ts';
import type { RenderJob } from './chat-template.ts';
import { JobError } from './text-worker.ts';
import { type JobOwner, WorkerPool } from './worker-pool.ts';

const pools: WorkerPool[] = [];
afterEach(async () => {
  await Promise.all(pools.splice(0).map((pool) => pool.dispose()));
  assert.deepEqual(liveHandles(), {});
});

const ANYBODY: JobOwner = { maxRunning: Infinity };

function pool(size: number, deadlineMs = 60_000): WorkerPool {
  const made = new WorkerPool({ size, deadlineMs, maxHeapMb: 128 });
  pools.push(made);
  return made;
}

const quick = (text: string): RenderJob => ({ template: '{{ text }}', variables: { text } });
const ENDLESS: RenderJob = {
  template: '{% for i in range(100000000) %}{% for j in range(100000000) %}{% endfor %}{% endfor %}',
  variables: {},
};

test('many jobs on few workers each get their own answer', async () => {
  const made = pool(2);
  const texts = Array.from({ length: 40 }, (_, index) => `text ${index}`);
  assert.deepEqual(await Promise.all(texts.map((text) => made.run(ANYBODY, 'render', quick(text)))), texts);
  assert.equal(liveHandles()['worker'], 2);
});

test('a job past its deadline fails alone; queued jobs get a new worker', async () => {
  const made = pool(1, 200);
  const stuck = made.run(ANYBODY, 'render', ENDLESS);
  const waiting = ['a', 'b', 'c'].map((text) => made.run(ANYBODY, 'render', quick(text)));
  await assert.rejects(stuck, (error: unknown) => error instanceof JobError && /200 ms/.test(error.message));
  assert.deepEqual(await Promise.all(waiting), ['a', 'b', 'c']);
});

test('an abort before the start rejects with the reason', async () => {
  await assert.rejects(
    pool(1).run(ANYBODY, 'render', quick('x'), AbortSignal.abort('no')),
    (reason: unknown) => reason === 'no',
  );
});

test('an abort in the queue takes the job out; one during the job leaves the others alone', async () => {
  const made = pool(1, 300);
  const [running, queued] = [new AbortController(), new AbortController()];
  const first = made.run(ANYBODY, 'render', ENDLESS, running.signal);
  const second = made.run(ANYBODY, 'render', quick('second'), queued.signal);
  const third = made.run(ANYBODY, 'render', quick('third'));
  queued.abort('left');
  running.abort('gone');
  await assert.rejects(second, (reason: unknown) => reason === 'left');
  await assert.rejects(first, (reason: unknown) => reason === 'gone');
  assert.equal(await third, 'third');
});

test('an abort after the end changes nothing and no listener stays', async () => {
  const abort = new AbortController();
  assert.equal(await pool(1).run(ANYBODY, 'render', quick('x'), abort.signal), 'x');
  assert.equal(getEventListeners(abort.signal, 'abort').length, 0);
  abort.abort();
});

test('a job that fills the memory ends its worker, not the server, and the next job gets a new one', async () => {
  const made = pool(1);
  const bombs = [
    '{% for i in range(1000000000) %}{% endfor %}',
    "{% set n = namespace(s='abcdefgh') %}{% for i in range(25) %}{% set n.s = n.s + n.s %}{% endfor %}{{ n.s | upper }}",
    "{% set n = namespace(l=['x']) %}{% for i in range(40) %}{% set n.l = n.l + n.l %}{% endfor %}",
  ];
  for (const template of bombs) {
    const bomb = made.run(ANYBODY, 'render', { template, variables: {} });
    await assert.rejects(bomb, (error: unknown) => error instanceof JobError && /128 MB of memory/.test(error.message));
    assert.equal(await made.run(ANYBODY, 'render', quick('next')), 'next');
  }
});

test('owners take turns, so that one whose jobs never end delays the others by one of them', async () => {
  const made = pool(1, 300);
  const [hostile, friendly]: JobOwner[] = [{ maxRunning: 1 }, { maxRunning: 1 }];
  const ended: string[] = [];
  const note = (name: string) => (): unknown => ended.push(name);
  const endless = Array.from({ length: 3 }, () => made.run(hostile!, 'render', ENDLESS).catch(note('endless')));
  const answers = ['a', 'b'].map((text) => made.run(friendly!, 'render', quick(text)).then(note(text)));
  await Promise.all([...endless, ...answers]);
  assert.deepEqual(ended, ['endless', 'a', 'endless', 'b', 'endless']);
});

test('an owner holds no more workers than it may', async () => {
  const made = pool(2, 60_000);
  const hostile: JobOwner = { maxRunning: 1 };
  const endless = [1, 2].map(() => made.run(hostile, 'render', ENDLESS).catch(() => 'ended'));
  assert.equal(await made.run({ maxRunning: 1 }, 'render', quick('free')), 'free');
  await made.dispose();
  assert.deepEqual(await Promise.all(endless), ['ended', 'ended']);
});

test('dispose rejects what runs and waits, and refuses new jobs', async () => {
  const made = pool(1);
  const both = Promise.allSettled([made.run(ANYBODY, 'render', ENDLESS), made.run(ANYBODY, 'render', quick('x'))]);
  await made.dispose();
  const shutDown = (reason: unknown): boolean => reason instanceof LoraxError && reason.code === 'SHUTTING_DOWN';
  for (const result of await both) assert.ok(result.status === 'rejected' && shutDown(result.reason));
  await assert.rejects(made.run(ANYBODY, 'render', quick('x')), shutDown);
  assert.deepEqual(liveHandles(), {});
});
