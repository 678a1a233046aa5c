/**
 * `npm run test:cuda`: everything about steps, adapters and drafts that passes on the CPU, on this machine's card. Needs Node,
 * the build and node_modules, nothing else. Where there is no card it says so, and claims nothing.
 *
 * usage: node scripts/test-cuda.mjs [DIR of reference vectors]
 */
import { spawnSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const DIST = new URL('../packages/server/dist/', import.meta.url);
const at = (path) => fileURLToPath(new URL(path, DIST));

/** Tests of these folders compute on whatever device their settings have; the rest ask nothing of a device, or ask for their own. */
const FOLDERS = ['adapters', 'engine', 'scheduler'];
const USES_SETTING = /testing\/(drafting-|request-)?setting\.js/;

const tests = FOLDERS.flatMap((folder) =>
  readdirSync(at(folder), { recursive: true })
    .filter((name) => name.endsWith('.test.js'))
    .map((name) => join(at(folder), name))
    .filter((path) => USES_SETTING.test(readFileSync(path, 'utf8'))),
);
const OTHERS = [
  'backend/ggml/ggml-backend.test.js',
  'backend/cuda/many-rows.test.js',
  'backend/cuda/streamed-rows.test.js',
  'engine/sampling/device-draws.test.js',
];
tests.push(...OTHERS.map(at));

const { findDevice } = await import(new URL('serving/backend.js', DIST));
try {
  const [card] = findDevice('cuda').cards;
  console.log(`on ${card.name}`);
} catch (error) {
  console.log(`nothing was tested: ${error.message}`);
  process.exit(0);
}
const vectors = process.argv.slice(2);
const conformance = [at('conformance/main.js'), ...vectors, '--device', 'cuda'];
const testsWith = (setup) => ['--test', '--enable-source-maps', '--import', new URL(setup, DIST).href, ...tests];
// Everything once more in two shards: on two cards through NCCL, else on one.
const runs = [
  conformance,
  testsWith('testing/on-cuda.js'),
  [...conformance, '--num-shard', '2'],
  testsWith('testing/on-two-shards.js'),
  // By itself: its kernels wait for each other, and a card that is shared gives each of them its turn late.
  ['--test', at('backend/cuda/shards/exchanges.test.js')],
];
const failed = runs.filter((args) => spawnSync(process.execPath, args, { stdio: 'inherit' }).status !== 0);
process.exit(failed.length === 0 ? 0 : 1);
