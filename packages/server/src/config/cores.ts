/** How many cores this process may use: its CPU affinity and its control group's quota, with the reason. */

import { readFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';

/** A number of cores or threads, and why it is that many. */
export interface CoreCount {
  readonly value: number;
  readonly because: string;
}

/** What is asked of the operating system; tests answer instead. */
export interface CoreFacts {
  readonly affinityCores: number;
  /** The file's text, or undefined where there is none. */
  readonly readFile: (path: string) => string | undefined;
}

const MACHINE: CoreFacts = { affinityCores: availableParallelism(), readFile: readIfThere };

export function coresAllowed(facts: CoreFacts = MACHINE): CoreCount {
  const quotaCores = cgroupQuotaCores(facts.readFile);
  if (quotaCores !== undefined && quotaCores < facts.affinityCores) {
    // A part of a core cannot run a thread without being throttled, so the quota is rounded down.
    const value = Math.max(1, Math.floor(quotaCores));
    return { value, because: `the control group may use ${quotaCores} of ${facts.affinityCores} cores` };
  }
  return { value: facts.affinityCores, because: 'every core that this process may run on' };
}

/** The smallest quota on the way from this process's control group to the root, in cores. */
function cgroupQuotaCores(readFile: CoreFacts['readFile']): number | undefined {
  const groups = readFile('/proc/self/cgroup')?.split('\n') ?? [];
  const quotas = groups.flatMap((line) => {
    const [, controllers, path] = /^\d+:([^:]*):(\/.*)$/.exec(line) ?? [];
    if (controllers === undefined || path === undefined) return [];
    if (controllers === '') return ancestors(path).map((folder) => quotaV2(readFile(`/sys/fs/cgroup${folder}cpu.max`)));
    if (!controllers.split(',').includes('cpu')) return [];
    return ancestors(path).map((folder) => {
      const base = `/sys/fs/cgroup/cpu${folder}cpu.cfs_`;
      return quotaV1(readFile(`${base}quota_us`), readFile(`${base}period_us`));
    });
  });
  const known = quotas.filter((quota) => quota !== undefined);
  return known.length === 0 ? undefined : Math.min(...known);
}

/** `/a/b` gives `/a/b/`, `/a/` and `/`: a quota anywhere above limits what is below. */
function ancestors(path: string): string[] {
  const parts = path.split('/').filter((part) => part !== '');
  return parts.concat('').map((_, index) => `/${parts.slice(0, parts.length - index).join('/')}/`.replace('//', '/'));
}

/** `cpu.max` is "quota period" in microseconds, or "max period". */
function quotaV2(text: string | undefined): number | undefined {
  const [quota, period] = text?.trim().split(' ') ?? [];
  return quotaV1(quota, period);
}

/** A quota that is no positive number (`max`, -1) is no limit. */
function quotaV1(quota: string | undefined, period: string | undefined): number | undefined {
  const cores = Number(quota) / Number(period);
  return Number.isFinite(cores) && cores > 0 ? cores : undefined;
}

function readIfThere(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return undefined; // not Linux, or no such controller: there is no quota to respect
  }
}
