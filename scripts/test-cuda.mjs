/**
 * `npm run test:cuda`: everything about steps, adapters and drafts that passes on the CPU, on this machine's card. Needs Node,
 * the build and node_modules, nothing else. Where there is no card it says so, and claims nothing.
 *
 * usage: node scripts/test-cuda.mjs [DIR of reference vectors]
 */
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';

const DIST = new URL('../packages/server/dist/', import.meta.url);
const at = (path) => fileURLToPath(new URL(path, DIST));

/** Tests whose settings compute, and which ask nothing of the CPU's memory. */
const TESTS = [
  'backend/ggml/ggml-backend.test.js',
  'adapters/weighted-results.test.js',
  'adapters/adapter-results.test.js',
  'adapters/adapter-stress.test.js',
  'adapters/base-merge.test.js',
  'adapters/merged-base.test.js',
  'engine/runner.test.js',
  'engine/drafting/drafting.test.js',
  'scheduler/scheduler.test.js',
  'scheduler/speculation.test.js',
];

const { findDevice } = await import(new URL('serving/backend.js', DIST));
try {
  const { cuda } = findDevice('cuda');
  console.log(`on ${cuda.name}`);
} catch (error) {
  console.log(`nothing was tested: ${error.message}`);
  process.exit(0);
}
const vectors = process.argv.slice(2);
const runs = [
  [at('conformance/main.js'), ...vectors, '--device', 'cuda'],
  ['--test', '--enable-source-maps', '--import', new URL('testing/on-cuda.js', DIST).href, ...TESTS.map(at)],
];
const failed = runs.filter((args) => spawnSync(process.execPath, args, { stdio: 'inherit' }).status !== 0);
process.exit(failed.length === 0 ? 0 : 1);
