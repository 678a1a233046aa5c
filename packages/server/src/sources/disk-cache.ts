/**
 * The disk tier of adapters: keeps what this server downloaded within a budget of bytes, least recently used out first,
 * and never what somebody holds. What Python or an operator put into the same cache is neither counted nor removed.
 * Servers that share a cache should share no ledger: each would count and evict what the other brought.
 */

import { join } from 'node:path';

import type { AdapterSource } from '../base/adapter-reference.ts';
import { LoraxError } from '../base/errors.ts';
import { DiskLedger, type LedgerEntry, type LedgerFile } from './disk-ledger.ts';
import type { SourceLog } from './source-log.ts';
import { blobBytes, isWhole, removeEmptyFolders, removeFiles, removeRefs } from './snapshot-files.ts';

/** A use is written down this rarely: requests must not wait for the disk, and a restart needs no more. */
const USE_INTERVAL_MS = 60_000;

export interface SnapshotName {
  readonly source: AdapterSource;
  /** As `AdapterLocation` has it. */
  readonly id: string;
  readonly revision: string;
  /** The repository's folder in the cache, a plain name: `models--org--name`. */
  readonly folder: string;
}

export interface DiskSnapshot extends SnapshotName {
  readonly byteLength: number;
  readonly lastUsedMs: number;
  readonly isHeld: boolean;
}

/** Until it is released, the snapshot is not evicted. */
export interface SnapshotHold {
  readonly byteLength: number;
  /**
   * Makes room for files that are about to be brought, together with what was reserved before. Files whose blob somebody
   * else put there count nothing. Rejects with ADAPTER_TOO_LARGE when they could never fit.
   */
  reserve(files: readonly LedgerFile[]): Promise<void>;
  /** Idempotent. */
  release(): void;
}

export interface DiskCacheOptions {
  /** The folder that holds the repositories' folders. */
  readonly cacheDir: string;
  readonly budgetBytes: number;
  readonly log?: SourceLog | undefined;
  readonly now?: () => number;
}

interface Entry extends SnapshotName {
  files: readonly LedgerFile[];
  lastUsedMs: number;
  writtenMs: number;
  holdCount: number;
  /** Files were reserved since the last look at the disk: they may be there or not. */
  isOpen: boolean;
}

export class DiskCache {
  readonly budgetBytes: number;
  readonly #options: DiskCacheOptions;
  readonly #ledger: DiskLedger;
  readonly #entries = new Map<string, Entry>();
  /** The work on the entries and their files that is done last; one thing at a time. */
  #queue: Promise<unknown> = Promise.resolve();

  private constructor(options: DiskCacheOptions) {
    this.#options = options;
    this.budgetBytes = options.budgetBytes;
    this.#ledger = new DiskLedger(options.cacheDir);
  }

  /** Takes up what an earlier server left, and evicts what is more than the budget. */
  static async open(options: DiskCacheOptions): Promise<DiskCache> {
    const cache = new DiskCache(options);
    await cache.#exclusive(() => cache.#recover());
    return cache;
  }

  get totalBytes(): number {
    return totalOf(this.#entries.values());
  }

  snapshots(): readonly DiskSnapshot[] {
    return [...this.#entries.values()].flatMap(({ source, id, revision, folder, files, lastUsedMs, holdCount }) =>
      files.length === 0
        ? []
        : [{ source, id, revision, folder, byteLength: bytesOf(files), lastUsedMs, isHeld: holdCount > 0 }],
    );
  }

  async hold(name: SnapshotName): Promise<SnapshotHold> {
    const entry = await this.#exclusive(async () => this.#take(name));
    let isReleased = false;
    return {
      get byteLength() {
        return bytesOf(entry.files);
      },
      reserve: (files) => this.#exclusive(() => this.#reserve(entry, files)),
      release: () => {
        if (isReleased) return;
        isReleased = true;
        this.#release(entry);
      },
    };
  }

  /** Removes an adapter's snapshots, or one of them, except those that are held. Gives the bytes that came free. */
  remove(source: AdapterSource, id: string, revision?: string): Promise<number> {
    return this.#exclusive(async () => {
      const before = this.totalBytes;
      for (const entry of this.#entries.values()) {
        if (entry.source !== source || entry.id !== id || entry.holdCount > 0) continue;
        if (revision === undefined || entry.revision === revision) await this.#evict(entry);
      }
      return before - this.totalBytes;
    });
  }

  /** Settles when all that was begun is done, for instance the evictions after a release. */
  async settled(): Promise<void> {
    await this.#queue;
  }

  #take(name: SnapshotName): Entry {
    const key = keyOf(name);
    const nowMs = this.#now();
    const fresh = { ...name, files: [], lastUsedMs: nowMs, writtenMs: nowMs, holdCount: 0, isOpen: false };
    const entry = this.#entries.get(key) ?? fresh;
    entry.holdCount++;
    this.#entries.set(key, entry);
    return entry;
  }

  async #reserve(entry: Entry, added: readonly LedgerFile[]): Promise<void> {
    const own = await this.#ownOf(entry.folder, added);
    if (own.length === 0) return;
    const names = new Set(own.map(({ name }) => name));
    const files = [...entry.files.filter(({ name }) => !names.has(name)), ...own];
    const neededBytes = bytesOf(files);
    const { budgetBytes } = this;
    if (neededBytes > budgetBytes) {
      throw new LoraxError('ADAPTER_TOO_LARGE', { adapterId: entry.id, neededBytes, budgetBytes });
    }
    // Written down before anything is there: whatever a kill leaves behind is known.
    entry.files = files;
    entry.isOpen = true;
    await this.#fit();
    await this.#write(entry);
  }

  /** Files whose blob is not there yet, or there because this server brought it for some snapshot. */
  async #ownOf(folder: string, files: readonly LedgerFile[]): Promise<readonly LedgerFile[]> {
    const ours = this.#blobsOf(folder);
    const repoDir = join(this.#options.cacheDir, folder);
    const areOwn = await Promise.all(files.map(async (file) => ours.has(file.blob) || !(await isWhole(repoDir, file))));
    return files.filter((_, index) => areOwn[index]);
  }

  #release(entry: Entry): void {
    entry.holdCount--;
    entry.lastUsedMs = this.#now();
    if (entry.holdCount > 0) return;
    void this.#exclusive(() => this.#close(entry)).catch((error: unknown) => {
      this.#options.log?.warn({ err: error, adapter: entry.id }, 'the disk cache could not be kept in order');
    });
  }

  async #close(entry: Entry): Promise<void> {
    // It may have been taken again, or evicted, while this waited for its turn.
    if (entry.holdCount > 0 || this.#entries.get(keyOf(entry)) !== entry) return;
    if (entry.isOpen) await this.#measure(entry);
    if (entry.files.length === 0) this.#entries.delete(keyOf(entry));
    else if (entry.lastUsedMs - entry.writtenMs >= USE_INTERVAL_MS) await this.#write(entry);
    await this.#fit();
  }

  async #recover(): Promise<void> {
    const unreadable = (file: string): void =>
      this.#options.log?.warn({ file }, 'an entry of the disk cache cannot be read; what it told of is not evicted');
    for (const entry of await this.#ledger.read(unreadable)) {
      const known: Entry = { ...entry, writtenMs: entry.lastUsedMs, holdCount: 0, isOpen: true };
      this.#entries.set(keyOf(entry), known);
    }
    for (const entry of this.#entries.values()) await this.#measure(entry);
    await this.#fit();
  }

  /** Brings the entry in line with what is on disk: a fetch may have failed, a server been killed, a file been deleted. */
  async #measure(entry: Entry): Promise<void> {
    const blobs = new Set(entry.files.map(({ blob }) => blob));
    const repoDir = join(this.#options.cacheDir, entry.folder);
    const present = await blobBytes(repoDir, blobs);
    const files = entry.files.flatMap((file) => {
      const sizeBytes = present.get(file.blob);
      return sizeBytes === undefined ? [] : [{ ...file, sizeBytes }];
    });
    if (files.length === 0) return this.#evict(entry);
    const lost = entry.files.filter(({ blob }) => !present.has(blob));
    const isAsWritten = lost.length === 0 && bytesOf(files) === bytesOf(entry.files);
    if (lost.length > 0) await removeFiles(repoDir, entry.revision, lost, this.#blobsOf(entry.folder, entry));
    entry.files = files;
    entry.isOpen = false;
    if (!isAsWritten) await this.#write(entry);
  }

  /** Evicts until the rest fits, or until only held snapshots are left. */
  async #fit(): Promise<void> {
    while (this.totalBytes > this.budgetBytes) {
      const idle = [...this.#entries.values()].filter(({ holdCount, files }) => holdCount === 0 && files.length > 0);
      const [first, ...others] = idle;
      if (first === undefined) return;
      const oldest = others.reduce((a, b) => (b.lastUsedMs < a.lastUsedMs ? b : a), first);
      const { id: adapter, source, revision, files } = oldest;
      await this.#evict(oldest);
      this.#options.log?.info({ adapter, source, revision, bytes: bytesOf(files) }, 'evicted from disk');
    }
  }

  /** The ledger forgets the snapshot last, so that a kill in between leaves nothing unknown. */
  async #evict(entry: Entry): Promise<void> {
    const repoDir = join(this.#options.cacheDir, entry.folder);
    await removeFiles(repoDir, entry.revision, entry.files, this.#blobsOf(entry.folder, entry));
    await removeRefs(repoDir, entry.revision);
    // Into the folders of another snapshot somebody may be about to write.
    const isShared = [...this.#entries.values()].some((other) => other !== entry && other.folder === entry.folder);
    if (!isShared) await removeEmptyFolders(repoDir);
    await this.#ledger.remove(entryOf(entry));
    this.#entries.delete(keyOf(entry));
  }

  #blobsOf(folder: string, except?: Entry): ReadonlySet<string> {
    const entries = [...this.#entries.values()].filter((entry) => entry.folder === folder && entry !== except);
    return new Set(entries.flatMap(({ files }) => files.map(({ blob }) => blob)));
  }

  async #write(entry: Entry): Promise<void> {
    await this.#ledger.write(entryOf(entry));
    entry.writtenMs = entry.lastUsedMs;
  }

  #now(): number {
    return (this.#options.now ?? Date.now)();
  }

  #exclusive<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#queue.then(work);
    this.#queue = result.catch(() => undefined);
    return result;
  }
}

function entryOf({ source, id, folder, revision, files, lastUsedMs }: Entry): LedgerEntry {
  return { source, id, folder, revision, files, lastUsedMs };
}

function keyOf({ folder, revision }: SnapshotName): string {
  return `${folder}/${revision}`;
}

/** A blob that several files or snapshots link to is on disk once. */
function bytesOf(files: readonly LedgerFile[]): number {
  return [...new Map(files.map(({ blob, sizeBytes }) => [blob, sizeBytes])).values()].reduce(
    (sum, size) => sum + size,
    0,
  );
}

function totalOf(entries: Iterable<Entry>): number {
  const sizes = new Map<string, number>();
  for (const { folder, files } of entries) {
    for (const { blob, sizeBytes } of files) {
      const key = `${folder}/${blob}`;
      sizes.set(key, Math.max(sizeBytes, sizes.get(key) ?? 0));
    }
  }
  let total = 0;
  for (const size of sizes.values()) total += size;
  return total;
}
