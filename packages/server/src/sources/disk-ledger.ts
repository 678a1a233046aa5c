/**
 * What this server's downloads take on disk, written down so that a restart knows it: one small JSON file per snapshot in
 * `<cache>/.lorax-adapters/`, each replaced whole. Knows nothing about budgets and removes no adapter.
 */

import { createHash, randomBytes } from 'node:crypto';
import { mkdir, readFile, readdir, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

import { z } from 'zod';

import { ADAPTER_SOURCES } from '../base/adapter-reference.ts';
import { ifPresent } from './if-present.ts';

const LEDGER_DIR = '.lorax-adapters';

/** What is read back becomes paths. */
const plainName = z.string().regex(/^\w[\w.-]*$/);

const LEDGER_ENTRY = z.object({
  source: z.enum(ADAPTER_SOURCES),
  id: z.string(),
  folder: plainName,
  revision: plainName,
  files: z
    .array(z.object({ name: plainName, blob: plainName, sizeBytes: z.int().nonnegative() }).readonly())
    .readonly(),
  lastUsedMs: z.number(),
});

/** A file that this server brought: its link in the snapshot, and the blob that the link leads to. */
export interface LedgerFile {
  readonly name: string;
  readonly blob: string;
  readonly sizeBytes: number;
}

export type LedgerEntry = Readonly<z.infer<typeof LEDGER_ENTRY>>;

export class DiskLedger {
  readonly #dir: string;

  constructor(cacheDir: string) {
    this.#dir = join(cacheDir, LEDGER_DIR);
  }

  /** `onUnreadable` hears of files that are no entries; they stay, and what they tell of is nobody's. */
  async read(onUnreadable: (file: string) => void): Promise<readonly LedgerEntry[]> {
    const names = (await ifPresent(readdir(this.#dir))) ?? [];
    const entries: LedgerEntry[] = [];
    for (const name of names) {
      if (!name.endsWith('.json')) {
        // Left by a process that ended while it wrote.
        await rm(join(this.#dir, name), { force: true });
        continue;
      }
      const entry = parseEntry((await ifPresent(readFile(join(this.#dir, name), 'utf8'))) ?? '');
      if (entry === undefined || fileName(entry) !== name) onUnreadable(name);
      else entries.push(entry);
    }
    return entries;
  }

  async write({ source, id, folder, revision, files, lastUsedMs }: LedgerEntry): Promise<void> {
    const entry: LedgerEntry = { source, id, folder, revision, files, lastUsedMs };
    const path = join(this.#dir, fileName(entry));
    const temporary = `${path}.${randomBytes(4).toString('hex')}`;
    await mkdir(this.#dir, { recursive: true });
    await writeFile(temporary, JSON.stringify(entry));
    await rename(temporary, path);
  }

  async remove(entry: LedgerEntry): Promise<void> {
    await rm(join(this.#dir, fileName(entry)), { force: true });
  }
}

function fileName({ folder, revision }: LedgerEntry): string {
  return `${createHash('sha256').update(`${folder}/${revision}`).digest('hex').slice(0, 32)}.json`;
}

function parseEntry(text: string): LedgerEntry | undefined {
  try {
    return LEDGER_ENTRY.parse(JSON.parse(text));
  } catch {
    return undefined;
  }
}
