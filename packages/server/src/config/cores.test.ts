import assert from 'node:assert/strict';
import { availableParallelism } from 'node:os';
import { test } from 'node:test';

import { coresAllowed } from './cores.ts';

const machine = (affinityCores: number, files: Record<string, string>) => ({
  affinityCores,
  readFile: (path: string) => files[path],
});

test('without a quota every core that the process may run on counts', () => {
  assert.equal(coresAllowed(machine(8, {})).value, 8);
  assert.equal(
    coresAllowed(machine(8, { '/proc/self/cgroup': '0::/a\n', '/sys/fs/cgroup/a/cpu.max': 'max 100000\n' })).value,
    8,
  );
  assert.ok(coresAllowed().value <= availableParallelism());
});

test('the tightest quota from the own group up to the root counts, rounded down', () => {
  const files = {
    '/proc/self/cgroup': '0::/pods/one\n',
    '/sys/fs/cgroup/pods/one/cpu.max': '500000 100000\n',
    '/sys/fs/cgroup/pods/cpu.max': '250000 100000\n',
    '/sys/fs/cgroup/cpu.max': 'max 100000\n',
  };
  assert.deepEqual(coresAllowed(machine(8, files)), { value: 2, because: 'the control group may use 2.5 of 8 cores' });
  assert.equal(coresAllowed(machine(2, files)).value, 2);
});

test('half a core still runs one thread', () => {
  const files = { '/proc/self/cgroup': '0::/\n', '/sys/fs/cgroup/cpu.max': '50000 100000\n' };
  assert.equal(coresAllowed(machine(4, files)).value, 1);
});

test('the first version of control groups says it in two files, and -1 is no limit', () => {
  const files = (quota: string) => ({
    '/proc/self/cgroup': '5:cpu,cpuacct:/box\n4:memory:/box\n0::/\n',
    '/sys/fs/cgroup/cpu/box/cpu.cfs_quota_us': `${quota}\n`,
    '/sys/fs/cgroup/cpu/box/cpu.cfs_period_us': '100000\n',
  });
  assert.equal(coresAllowed(machine(8, files('300000'))).value, 3);
  assert.equal(coresAllowed(machine(8, files('-1'))).value, 8);
});
