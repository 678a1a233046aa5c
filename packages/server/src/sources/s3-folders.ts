/**
 * Adapters in S3 prefixes: what a prefix holds now, and its files in the cache. One blob per content, one snapshot per
 * revision. Knows nothing about ids; whoever asks says how the adapter is called.
 */

import { createHash } from 'node:crypto';

import type { AdapterSource } from '../base/adapter-reference.ts';
import { LoraxError } from '../base/errors.ts';
import { checkMedusaConfig } from './adapter-folder.ts';
import type { DiskCache } from './disk-cache.ts';
import { adapterFault, adapterFiles } from './repo-files.ts';
import type { RetryPolicy } from './retry.ts';
import { S3 } from './s3-fault.ts';
import type { S3Place } from './s3-place.ts';
import { type S3Connection, type S3Object, S3Reader } from './s3-reader.ts';
import { type SnapshotFile, SnapshotStore } from './snapshot-store.ts';
import { SourceFault, adapterError } from './source-fault.ts';
import type { SourceLog } from './source-log.ts';
import type { AdapterLocation, FetchOptions, ResolvedFolder } from './source.ts';

/** How the one who asks calls what lies in a place. */
export interface S3Name {
  readonly source: AdapterSource;
  readonly id: string;
}

export interface S3FoldersOptions extends S3Connection {
  readonly cacheDir: string;
  readonly retries: RetryPolicy;
  /** Without one, adapters stay on disk for ever. */
  readonly disk?: DiskCache | undefined;
  readonly log?: SourceLog | undefined;
}

/** A prefix with what it held when it was listed. */
interface S3Folder {
  /** The place's own folder in the cache. */
  readonly repo: string;
  /** Of names, ETags and sizes. */
  readonly revision: string;
  /** Those that an adapter is made of. */
  readonly files: readonly SnapshotFile[];
}

export class S3Folders {
  readonly #reader: S3Reader;
  readonly #store: SnapshotStore;
  readonly #endpoint: string | undefined;
  readonly #log: SourceLog | undefined;

  constructor(options: S3FoldersOptions) {
    this.#reader = new S3Reader(options, options.retries);
    this.#store = new SnapshotStore({ ...options, kind: 's3', peer: S3 });
    this.#endpoint = options.endpoint;
    this.#log = options.log;
  }

  async locate(place: S3Place, name: S3Name, signal: AbortSignal): Promise<AdapterLocation> {
    const named = async <T>(work: Promise<T>): Promise<T> => {
      try {
        return await work;
      } catch (error) {
        this.#tellRefusal(error, name);
        throw adapterError(error, name.id, name.source);
      }
    };
    const folder = await named(this.#list(place, name.id, signal));
    const fetch = (options: FetchOptions): Promise<ResolvedFolder> => named(this.#fetch(folder, name, options));
    return { ...name, revision: folder.revision, fetch };
  }

  /** The key is the operator's, who would not learn from a caller's 403 what is wrong with it. */
  #tellRefusal(error: unknown, { source, id }: S3Name): void {
    if (!(error instanceof SourceFault) || error.kind !== 'forbidden') return;
    this.#log?.info({ adapter: id, source, reason: error.message }, 'this server’s key does not open it');
  }

  async #list(place: S3Place, adapterId: string, signal: AbortSignal): Promise<S3Folder> {
    const { objects, isComplete } = await this.#reader.list(place, signal);
    // A folder's own marker has no name; a folder of folders is no adapter that anybody could have meant.
    const byName = new Map(objects.filter(({ name }) => name !== '').map((object) => [object.name, object]));
    if (byName.size === 0) throw new SourceFault('missing', `${S3} has nothing right under this prefix`);
    const names = [...byName.keys()];
    const reason = isComplete ? adapterFault(names) : `it lies among more than ${objects.length} files`;
    if (reason !== undefined) throw new LoraxError('ADAPTER_INVALID', { adapterId, reason });
    const used = adapterFiles(names).flatMap((name) => byName.get(name) ?? []);
    return {
      repo: this.#repo(place),
      revision: sha256(used.map(contentOf).toSorted()),
      files: used.map((object) => this.#file(place, object)),
    };
  }

  #fetch({ repo, revision, files }: S3Folder, name: S3Name, options: FetchOptions): Promise<ResolvedFolder> {
    return this.#store.fetchAdapter({ ...name, repo, revision }, options, async (bring) => {
      const { cache } = this.#store;
      const present = new Set(await cache.fileNames(repo, revision));
      const missing = files.filter((file) => !present.has(file.name));
      const config = files.find((file) => file.name === 'config.json');
      if (config !== undefined && !files.some((file) => file.name === 'adapter_config.json')) {
        // Before the weights come: a whole model named as an adapter would be fetched for nothing.
        if (missing.includes(config)) await bring([config]);
        await checkMedusaConfig(cache.filePath(repo, revision, config.name), name.id);
      }
      if (missing.length > 0) await bring(missing);
    });
  }

  #file(place: S3Place, object: S3Object): SnapshotFile {
    return {
      name: object.name,
      sizeBytes: object.sizeBytes,
      // Not the ETag alone: not every server makes it from the content.
      blob: sha256([contentOf(object)]),
      digest: (signal) => this.#reader.digest(place, object, signal),
      open: (firstByte, signal) => this.#reader.open(place, object, firstByte, signal),
    };
  }

  /** The bucket's name is there for people; the hash tells apart all that an endpoint, a bucket and a prefix can be. */
  #repo({ bucket, prefix }: S3Place): string {
    return `${bucket}/${sha256([this.#endpoint ?? '', bucket, prefix]).slice(0, 32)}`;
  }
}

function contentOf({ name, etag, sizeBytes }: S3Object): string {
  return JSON.stringify([name, etag, sizeBytes]);
}

function sha256(parts: readonly string[]): string {
  return createHash('sha256').update(JSON.stringify(parts)).digest('hex');
}
