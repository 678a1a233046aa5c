/** Where and with what a benchmark ran: enough to say whether two results can be compared. */

import { execFileSync } from 'node:child_process';
import { availableParallelism, cpus, loadavg, release, totalmem } from 'node:os';
import { fileURLToPath } from 'node:url';
import type { BackendDescription } from '#server/backend/backend.ts';

export interface Machine extends BackendDescription {
  readonly cpu: string;
  readonly cores: number;
  readonly memoryGiB: number;
  readonly kernel: string;
  readonly node: string;
  /** Of this repository; with `+` where files differ from it. */
  readonly commit: string;
  readonly startedAt: string;
}

export function describeMachine(backend: BackendDescription): Machine {
  return {
    ...backend,
    cpu: cpus()[0]?.model ?? 'unknown',
    cores: availableParallelism(),
    memoryGiB: Math.round(totalmem() / 2 ** 30),
    kernel: release(),
    node: process.version,
    commit: git('rev-parse', '--short', 'HEAD') + (git('status', '--porcelain', '-uno') ? '+' : ''),
    startedAt: new Date().toISOString(),
  };
}

/** Processes that ran or wanted to, averaged over the last minute. */
export function loadAverage(): number {
  return loadavg()[0] ?? NaN;
}

/** Empty where this is no checkout or there is no git. */
function git(...args: readonly string[]): string {
  try {
    const cwd = fileURLToPath(new URL('.', import.meta.url));
    return execFileSync('git', args, { cwd, encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }).trim();
  } catch {
    return '';
  }
}
