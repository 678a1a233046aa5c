/**
 * Fetches snapshots of repositories into the cache: one download per file however many want it, links once all files are
 * there, and for adapters a place in the disk cache. Knows nothing about where the bytes come from.
 */

import { randomBytes } from 'node:crypto';

import type { AdapterSource } from '../base/adapter-reference.ts';
import { downloadBlob } from './blob-download.ts';
import type { DiskCache, SnapshotHold } from './disk-cache.ts';
import type { LedgerFile } from './disk-ledger.ts';
import { HubCache } from './hub-cache.ts';
import { mapLimited } from '../base/limited.ts';
import type { Digest } from './partial-file.ts';
import type { RetryPolicy } from './retry.ts';
import { SharedJobs } from './shared-jobs.ts';
import type { FetchOptions, ResolvedFolder } from './source.ts';
import { type SourceLog, logged } from './source-log.ts';

const PARALLEL_FILES = 4;

/** A file at the other end. Its blob's name stands for its content. */
export interface SnapshotFile extends LedgerFile {
  /** What the other end says about the content, asked for when the file is fetched. */
  readonly digest: (signal: AbortSignal) => Promise<Digest | undefined>;
  /** Answers 206 from this byte on, 200 with the whole file, or 416. */
  readonly open: (firstByte: number, signal: AbortSignal) => Promise<Response>;
}

export interface Snapshot {
  /** As the cache's folder is named after it: `org/name`. */
  readonly repo: string;
  readonly revision: string;
}

export interface AdapterSnapshot extends Snapshot {
  readonly source: AdapterSource;
  readonly id: string;
}

export interface SnapshotStoreOptions {
  readonly cacheDir: string;
  /** As `HubCache` takes it. */
  readonly kind?: string;
  /** Who sends the files, for messages: `the Hub`. */
  readonly peer: string;
  readonly retries: RetryPolicy;
  /** Without one, adapters stay on disk for ever. */
  readonly disk?: DiskCache | undefined;
  readonly log?: SourceLog | undefined;
}

/** Brings files into the snapshot that is being fetched. */
export type Bring = (files: readonly SnapshotFile[]) => Promise<void>;

const NOT_HELD: SnapshotHold = { byteLength: 0, reserve: async () => undefined, release: () => undefined };

export class SnapshotStore {
  readonly cache: HubCache;
  readonly #options: SnapshotStoreOptions;
  readonly #tag = randomBytes(4).toString('hex');
  readonly #downloads = new SharedJobs<void>();

  constructor(options: SnapshotStoreOptions) {
    this.#options = options;
    this.cache = new HubCache(options.cacheDir, this.#tag, options.kind);
  }

  /**
   * The snapshot's folder after `work` has brought what it lacks, held on disk until it is released. Rejects as `work` does,
   * or with ADAPTER_TOO_LARGE before the files that do not fit are fetched.
   */
  async fetchAdapter(
    { source, id, repo, revision }: AdapterSnapshot,
    options: FetchOptions,
    work: (bring: Bring) => Promise<void>,
  ): Promise<ResolvedFolder> {
    const name = { source, id, revision, folder: this.cache.folderName(repo) };
    const hold = (await this.#options.disk?.hold(name)) ?? NOT_HELD;
    try {
      options.signal.throwIfAborted();
      await work(async (files) => {
        await hold.reserve(files);
        await this.#bring({ repo, revision }, files, options, this.#options.log);
      });
      const folder = await this.cache.snapshot(repo, revision);
      return { folder, root: undefined, byteLength: hold.byteLength, release: () => hold.release() };
    } catch (error) {
      hold.release();
      throw error;
    }
  }

  /** Brings files that stay on disk for ever and tells of them by `onProgress` alone: those of base models. */
  async bring(snapshot: Snapshot, files: readonly SnapshotFile[], options: FetchOptions): Promise<void> {
    await this.#bring(snapshot, files, options, undefined);
  }

  /** The files appear in the snapshot together, once all are there: an interrupted fetch leaves it recognisably incomplete. */
  async #bring(
    { repo, revision }: Snapshot,
    files: readonly SnapshotFile[],
    { signal, onProgress }: FetchOptions,
    log: SourceLog | undefined,
  ): Promise<void> {
    const received = new Map<string, number>();
    const totalBytes = files.reduce((sum, file) => sum + file.sizeBytes, 0);
    await mapLimited(files, PARALLEL_FILES, signal, async (file, fileSignal) => {
      const onPosition = (bytes: number): void => {
        received.set(file.name, bytes);
        const receivedBytes = [...received.values()].reduce((sum, part) => sum + part, 0);
        onProgress?.({ file: file.name, receivedBytes, totalBytes });
      };
      await this.#bringBlob(repo, file, fileSignal, { log, onPosition });
      onPosition(file.sizeBytes);
    });
    for (const { name, blob } of files) await this.cache.link(repo, revision, name, blob);
  }

  async #bringBlob(
    repo: string,
    file: SnapshotFile,
    signal: AbortSignal,
    watch: { readonly log: SourceLog | undefined; readonly onPosition: (bytes: number) => void },
  ): Promise<void> {
    const { name, blob, sizeBytes, open } = file;
    if (await this.cache.hasBlob(repo, blob, sizeBytes)) return;
    const path = this.cache.blobPath(repo, blob);
    const { peer, retries } = this.#options;
    await this.#downloads.run(path, signal, async (jobSignal) => {
      const digest = await file.digest(jobSignal);
      await logged(watch.log, { repo, file: name, sizeBytes }, (onLogged) => {
        const onPosition = (bytes: number): void => {
          watch.onPosition(bytes);
          onLogged(bytes);
        };
        const download = { name, peer, sizeBytes, digest, path, tag: this.#tag, retries, open, onPosition };
        return downloadBlob(download, jobSignal);
      });
    });
  }
}
