import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';

const GENERATOR = fileURLToPath(new URL('../../../../scripts/gen-docs.mjs', import.meta.url));

test('the reference pages say what the tables say', () => {
  const { status, stderr } = spawnSync(process.execPath, [GENERATOR, '--check'], { encoding: 'utf8' });
  assert.deepEqual([status, stderr], [0, '']);
});
