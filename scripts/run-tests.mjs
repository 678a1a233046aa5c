/** Runs every compiled `*.test.js` below the given folders under node's test runner (Node 20 has no globs of its own). */
import { spawnSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';

const { positionals: folders, values } = parseArgs({
  allowPositionals: true,
  options: { seed: { type: 'string', default: '1' } },
});

const files = folders
  .flatMap((folder) =>
    readdirSync(folder, { recursive: true })
      .filter((name) => name.endsWith('.test.js'))
      .map((name) => join(folder, name)),
  )
  .sort();

const seed = new URL(`./property-seed.mjs?seed=${values.seed}`, import.meta.url).href;
// A test that never ends must not hold its run for ever; no test comes near the limit.
const FLAGS = ['--test', '--enable-source-maps', '--test-timeout=900000', `--import=${seed}`];
const { status } = spawnSync(process.execPath, [...FLAGS, ...files], { stdio: 'inherit' });
process.exit(status ?? 1);
