/**
 * `npm run check:kernels`: compiles every kernel with CUDA's compiler for the architectures below, warnings being errors. The
 * server itself compiles them at start for the card it finds; this needs the compiler, and no card. Where there is no compiler
 * it says so, and claims nothing.
 */
import { execFile, spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const FOLDER = fileURLToPath(new URL('../packages/server/src/backend/cuda/kernels/', import.meta.url));

/** The oldest that the kernels are for, and Hopper with what only it has. */
const ARCHITECTURES = ['sm_80', 'sm_90a'];
/** As kernel-files.ts has them. */
const HOPPER_SOURCES = ['streamed-products.cu', 'streamed-pairs.cu'];

const version = spawnSync('nvcc', ['--version'], { encoding: 'utf8' });
if (version.error) {
  console.log(`no kernel was compiled: nvcc was not found (${version.error.message})`);
  process.exit(0);
}
console.log(version.stdout.trim().split('\n').at(-1));

const folder = mkdtempSync(join(tmpdir(), 'lorax-kernels-'));
const sources = readdirSync(FOLDER).filter((name) => name.endsWith('.cu'));
const jobs = ARCHITECTURES.flatMap((architecture) => sources.map((source) => ({ architecture, source }))).filter(
  ({ architecture, source }) => architecture === 'sm_90a' || !HOPPER_SOURCES.includes(source),
);
const failures = [];

async function compileInTurn() {
  for (let job = jobs.pop(); job !== undefined; job = jobs.pop()) {
    const { architecture, source } = job;
    const output = join(folder, `${source}-${architecture}.cubin`);
    const flags = [`-arch=${architecture}`, '-std=c++17', '-cubin', '-Werror=all-warnings', '-o', output];
    await promisify(execFile)('nvcc', [...flags, join(FOLDER, source)]).catch((error) => {
      failures.push(`${source} for ${architecture}:\n${error.stderr || error.message}`);
    });
  }
}

const count = jobs.length;
await Promise.all(Array.from({ length: availableParallelism() }, compileInTurn));
rmSync(folder, { recursive: true });
for (const failure of failures) console.log(failure);
console.log(`${count - failures.length} passed, ${failures.length} failed`);
process.exit(failures.length === 0 ? 0 : 1);
