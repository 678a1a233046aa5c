import assert from 'node:assert/strict';
import { getEventListeners } from 'node:events';
import { after, afterEach, test } from 'node:test';
import { LoraxError } from '../base/errors.ts';
import { liveHandles } from '../base/handles.ts';
import type { RenderJob } from './chat-template.ts';
import { unpackTokenizers } from './testdata/fixtures.ts';
import { JobError } from './text-worker.ts';
import { WorkerPool } from './worker-pool.ts';

const data = unpackTokenizers();
const pools: WorkerPool[] = [];
after(() => data.remove());
afterEach(async () => {
  await Promise.all(pools.splice(0).map((pool) => pool.dispose()));
  assert.deepEqual(liveHandles(), {});
});

function pool(size: number, deadlineMs = 60_000, folder = data.folderOf('unigram_t5')): WorkerPool {
  const made = new WorkerPool({ workerData: { folder, overridePath: undefined }, size, deadlineMs, maxHeapMb: 128 });
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
  assert.deepEqual(await Promise.all(texts.map((text) => made.run('render', quick(text)))), texts);
  assert.equal(liveHandles()['worker'], 2);
});

test('a job past its deadline fails alone; queued jobs get a new worker', async () => {
  const made = pool(1, 200);
  const stuck = made.run('render', ENDLESS);
  const waiting = ['a', 'b', 'c'].map((text) => made.run('render', quick(text)));
  await assert.rejects(stuck, (error: unknown) => error instanceof JobError && /200 ms/.test(error.message));
  assert.deepEqual(await Promise.all(waiting), ['a', 'b', 'c']);
});

test('an abort before the start rejects with the reason', async () => {
  await assert.rejects(
    pool(1).run('render', quick('x'), AbortSignal.abort('no')),
    (reason: unknown) => reason === 'no',
  );
});

test('an abort in the queue takes the job out; one during the job leaves the others alone', async () => {
  const made = pool(1, 300);
  const [running, queued] = [new AbortController(), new AbortController()];
  const first = made.run('render', ENDLESS, running.signal);
  const second = made.run('render', quick('second'), queued.signal);
  const third = made.run('render', quick('third'));
  queued.abort('left');
  running.abort('gone');
  await assert.rejects(second, (reason: unknown) => reason === 'left');
  await assert.rejects(first, (reason: unknown) => reason === 'gone');
  assert.equal(await third, 'third');
});

test('an abort after the end changes nothing and no listener stays', async () => {
  const abort = new AbortController();
  assert.equal(await pool(1).run('render', quick('x'), abort.signal), 'x');
  assert.equal(getEventListeners(abort.signal, 'abort').length, 0);
  abort.abort();
});

test('a worker that cannot open its tokenizer says so at each job', async () => {
  const made = pool(1, 60_000, '/nowhere/my-model');
  const job = { text: 'x', addSpecialTokens: false };
  await assert.rejects(made.run('encode', job), /tokenizer\.json: the file is missing/);
  await assert.rejects(made.run('encode', job), /tokenizer\.json: the file is missing/);
});

test('dispose rejects what runs and waits, and refuses new jobs', async () => {
  const made = pool(1);
  const both = Promise.allSettled([made.run('render', ENDLESS), made.run('render', quick('x'))]);
  await made.dispose();
  const shutDown = (reason: unknown): boolean => reason instanceof LoraxError && reason.code === 'SHUTTING_DOWN';
  for (const result of await both) assert.ok(result.status === 'rejected' && shutDown(result.reason));
  await assert.rejects(made.run('render', quick('x')), shutDown);
  assert.deepEqual(liveHandles(), {});
});
