import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync } from 'node:fs';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';

/** A server's process with one worker that never gets done; it writes the worker's id. */
const SERVER = `
  const { WorkerPool } = await import(${JSON.stringify(new URL('./worker-pool.js', import.meta.url).href)});
  const { readFileSync } = await import('node:fs');
  const pool = new WorkerPool({ size: 1, deadlineMs: 600_000, maxHeapMb: 128 });
  const run = (template) => pool.run({ maxRunning: 1 }, 'render', { template, variables: {} });
  await run('x');
  run('{% for i in range(1000000) %}{% for j in range(1000000) %}{% endfor %}{% endfor %}').catch(() => undefined);
  console.log(readFileSync('/proc/self/task/' + process.pid + '/children', 'utf8').trim());
`;

function isRunning(pid: number): boolean {
  const stat = `/proc/${pid}/stat`;
  // A process that has ended and that nobody asked about is a zombie.
  return existsSync(stat) && !/\) [ZX] /.test(readFileSync(stat, 'utf8'));
}

test('a worker ends with a server that was killed, also in the middle of a job without an end', async () => {
  const server = spawn(process.execPath, ['--input-type=module', '-e', SERVER], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const [line] = (await once(server.stdout, 'data')) as [Buffer];
  const worker = Number(line.toString());
  assert.ok(worker > 0 && isRunning(worker));
  server.kill('SIGKILL');
  await once(server, 'exit');
  while (isRunning(worker)) await sleep(50);
});

test('a signal to all processes of a terminal leaves a worker to its server', async () => {
  const server = spawn(process.execPath, ['--input-type=module', '-e', SERVER], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const [line] = (await once(server.stdout, 'data')) as [Buffer];
  const worker = Number(line.toString());
  process.kill(worker, 'SIGINT');
  process.kill(worker, 'SIGTERM');
  await sleep(100);
  assert.ok(isRunning(worker));
  server.kill('SIGKILL');
  await once(server, 'exit');
  while (isRunning(worker)) await sleep(50);
});
