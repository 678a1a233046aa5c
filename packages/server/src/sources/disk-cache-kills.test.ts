import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readFileSync, readdirSync, rmSync, statSync } from 'node:fs';
import fs from 'node:fs/promises';
import { syncBuiltinESMExports } from 'node:module';
import { join } from 'node:path';
import { describe, it } from 'node:test';

import fc from 'fast-check';

import { DiskCache, type SnapshotHold, type SnapshotName } from './disk-cache.ts';
import type { LedgerFile } from './disk-ledger.ts';
import { HubCache } from './hub-cache.ts';
import { SharedJobs } from './shared-jobs.ts';
import { makeTemporaryFolder, removeFolder, writeFiles } from './testing/temporary-folder.ts';

const never = new AbortController().signal;
const BUDGET = 100;
const REPOS = ['one', 'two'] as const;
const REVISIONS = ['a', 'b', 'c'].map((letter) => letter.repeat(40));
/** The blobs of each repository: any snapshot may have any of them. */
const BLOBS = [
  { blob: 'tokenizer', sizeBytes: 10 },
  { blob: 'small', sizeBytes: 25 },
  { blob: 'large', sizeBytes: 60 },
] as const;
/** What Python has in each repository. */
const PYTHONS: Readonly<Record<string, string>> = { 'blobs/python': 'x'.repeat(40), 'refs/main': 'f'.repeat(40) };

interface Fetch {
  readonly kind: 'fetch';
  readonly repo: string;
  readonly revision: string;
  readonly files: readonly LedgerFile[];
  /** Stops after so many files; the next file is left half. */
  readonly stopsAfter: number;
  readonly isKept: boolean;
}

type Step =
  | Fetch
  | { readonly kind: 'release' }
  | { readonly kind: 'remove'; readonly repo: string }
  | { readonly kind: 'restart' };

const files = fc.subarray(BLOBS.map(({ blob, sizeBytes }) => ({ name: `${blob}.safetensors`, blob, sizeBytes })));
const fetchStep = fc.record({
  kind: fc.constant('fetch' as const),
  repo: fc.constantFrom(...REPOS),
  revision: fc.constantFrom(...REVISIONS),
  files,
  stopsAfter: fc.oneof({ weight: 3, arbitrary: fc.constant(9) }, { weight: 1, arbitrary: fc.nat(2) }),
  isKept: fc.boolean(),
});
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 6, arbitrary: fetchStep },
  { weight: 2, arbitrary: fc.constant({ kind: 'release' as const }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('remove' as const), repo: fc.constantFrom(...REPOS) }) },
  { weight: 1, arbitrary: fc.constant({ kind: 'restart' as const }) },
);
/** Each inner list runs at the same time. */
const history = fc.array(fc.array(step, { minLength: 1, maxLength: 3 }), { maxLength: 10, size: 'max' });

/** A server with its cache folder, which outlives it. */
class Server {
  readonly cacheDir = makeTemporaryFolder();
  readonly #cache = new HubCache(this.cacheDir, '0'.repeat(8));
  readonly #kept: { hold: SnapshotHold; fetch: Fetch }[] = [];
  readonly #downloads = new SharedJobs<void>();
  #nowMs = 0;
  disk!: DiskCache;

  async open(): Promise<void> {
    this.#kept.length = 0;
    this.disk = await DiskCache.open({ cacheDir: this.cacheDir, budgetBytes: BUDGET, now: () => ++this.#nowMs });
  }

  addPythons(): void {
    for (const repo of REPOS) writeFiles(join(this.cacheDir, `models--${repo}`), PYTHONS);
  }

  async do(step: Step): Promise<void> {
    if (step.kind === 'fetch') await this.#fetch(step);
    if (step.kind === 'release') this.#kept.shift()?.hold.release();
    if (step.kind === 'remove') await this.disk.remove('hub', step.repo);
  }

  async #fetch(fetch: Fetch): Promise<void> {
    const { repo, revision, stopsAfter } = fetch;
    const name: SnapshotName = { source: 'hub', id: repo, revision, folder: `models--${repo}` };
    const hold = await this.disk.hold(name);
    try {
      await hold.reserve(fetch.files);
      for (const [index, file] of fetch.files.entries()) await this.#bring(repo, file, index < stopsAfter);
      for (const { name: link, blob } of fetch.files) await this.#cache.link(repo, revision, link, blob);
    } catch (error) {
      hold.release();
      if (error instanceof Stopped) return;
      throw error;
    }
    if (fetch.isKept) this.#kept.push({ hold, fetch });
    else hold.release();
  }

  async #bring(repo: string, { blob, sizeBytes }: LedgerFile, isWhole: boolean): Promise<void> {
    const path = this.#cache.blobPath(repo, blob);
    await this.#downloads.run(path, never, async () => {
      if (await this.#cache.hasBlob(repo, blob, sizeBytes)) return;
      const partial = `${path}.00000000.incomplete`;
      await fs.mkdir(join(path, '..'), { recursive: true });
      await fs.writeFile(partial, 'x'.repeat(Math.floor(sizeBytes / 2)));
      if (!isWhole) throw new Stopped();
      await fs.writeFile(partial, 'x'.repeat(sizeBytes));
      await fs.rename(partial, path);
    });
  }

  /** Bytes of all blobs and partial files that are not Python's. */
  get bytesOnDisk(): number {
    let total = 0;
    for (const repo of REPOS) {
      const folder = join(this.cacheDir, `models--${repo}/blobs`);
      for (const name of existsSync(folder) ? readdirSync(folder) : []) {
        if (name !== 'python') total += statSync(join(folder, name)).size;
      }
    }
    return total;
  }

  /** What must hold whenever nothing is under way. */
  check(): void {
    const { disk } = this;
    const kept = disk.snapshots().filter(({ isHeld }) => isHeld);
    const heldBytes = kept.reduce((sum, { byteLength }) => sum + byteLength, 0);
    assert.ok(disk.totalBytes <= Math.max(BUDGET, heldBytes), `${disk.totalBytes} bytes with ${heldBytes} held`);
    if (kept.length === 0) assert.equal(this.bytesOnDisk, disk.totalBytes);
    assert.ok(this.bytesOnDisk <= disk.totalBytes);
    const ledger = join(this.cacheDir, '.lorax-adapters');
    const entryCount = existsSync(ledger) ? readdirSync(ledger).filter((name) => name.endsWith('.json')).length : 0;
    assert.equal(entryCount, disk.snapshots().length);
    for (const { fetch } of this.#kept) this.#checkFiles(fetch);
    for (const repo of REPOS) {
      this.#checkLinks(repo);
      for (const [path, content] of Object.entries(PYTHONS)) {
        assert.equal(readFileSync(join(this.cacheDir, `models--${repo}`, path), 'utf8'), content);
      }
    }
  }

  #checkFiles({ repo, revision, files: own }: Fetch): void {
    for (const { name, sizeBytes } of own) {
      assert.equal(statSync(this.#cache.filePath(repo, revision, name)).size, sizeBytes);
    }
  }

  #checkLinks(repo: string): void {
    const folder = join(this.cacheDir, `models--${repo}/snapshots`);
    for (const revision of existsSync(folder) ? readdirSync(folder) : []) {
      for (const name of readdirSync(join(folder, revision))) {
        if (name.endsWith('.safetensors')) assert.ok(existsSync(join(folder, revision, name)), `${name} leads nowhere`);
      }
    }
  }
}

/** A transfer that ended early. */
class Stopped extends Error {}

/** The process is gone: nothing that it does has an effect any more. */
class Killed extends Error {}

const CHANGES = ['mkdir', 'rename', 'rm', 'rmdir', 'symlink', 'writeFile'] as const;
const REAL = { ...fs };

/** After so many changes on disk, every further one fails. */
function killAfter(changeCount: number): void {
  let left = changeCount;
  for (const name of CHANGES) {
    const real = REAL[name] as (...args: unknown[]) => Promise<unknown>;
    const dying = async (...args: unknown[]): Promise<unknown> => {
      if (left-- <= 0) throw new Killed();
      return real(...args);
    };
    Object.assign(fs, { [name]: dying });
  }
  syncBuiltinESMExports();
}

function revive(): void {
  Object.assign(fs, REAL);
  syncBuiltinESMExports();
}

async function withServer(run: (server: Server) => Promise<void>): Promise<void> {
  const server = new Server();
  try {
    mkdirSync(server.cacheDir, { recursive: true });
    server.addPythons();
    await server.open();
    await run(server);
  } finally {
    removeFolder(server.cacheDir);
  }
}

async function runHistory(server: Server, steps: readonly (readonly Step[])[], check: () => void): Promise<void> {
  for (const batch of steps) {
    if (batch.some(({ kind }) => kind === 'restart')) await server.open();
    const results = await Promise.allSettled(batch.map((one) => server.do(one)));
    await server.disk.settled();
    for (const result of results) if (result.status === 'rejected') throw result.reason;
    check();
  }
}

describe('DiskCache under any history', () => {
  it('has on disk what its ledger says, within the budget but for what is held', async () => {
    await fc.assert(
      fc.asyncProperty(history, (steps) => withServer((server) => runHistory(server, steps, () => server.check()))),
      { numRuns: 30, endOnFailure: true, includeErrorInReport: true },
    );
  });

  it('is consistent after a kill at any point', async () => {
    await fc.assert(
      fc.asyncProperty(history, fc.nat(150), (steps, changeCount) =>
        withServer(async (server) => {
          killAfter(changeCount);
          try {
            await runHistory(server, steps, () => undefined);
          } catch (error) {
            if (!(error instanceof Killed)) throw error;
          } finally {
            await server.disk.settled();
            revive();
          }
          await server.open();
          server.check();
          for (const repo of REPOS) await server.disk.remove('hub', repo);
          assert.deepEqual([server.disk.totalBytes, server.bytesOnDisk], [0, 0]);
          rmSync(join(server.cacheDir, '.lorax-adapters'), { recursive: true, force: true });
        }),
      ),
      { numRuns: 60, endOnFailure: true, includeErrorInReport: true },
    );
  });
});
