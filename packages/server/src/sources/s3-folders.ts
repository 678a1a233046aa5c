/**
 * Adapters in S3 prefixes: what a prefix holds now, and its files in the cache. One blob per content, one snapshot per
 * revision, in the layout of the Hub's cache. Knows nothing about ids; whoever asks says how the adapter is called.
 */

import { createHash, randomBytes } from 'node:crypto';

import type { AdapterSource } from '../base/adapter-reference.ts';
import { LoraxError } from '../base/errors.ts';
import { checkMedusaConfig } from './adapter-folder.ts';
import { downloadBlob } from './blob-download.ts';
import { HubCache } from './hub-cache.ts';
import { mapLimited } from './limited.ts';
import { adapterFault, adapterFiles } from './repo-files.ts';
import type { RetryPolicy } from './retry.ts';
import { S3 } from './s3-fault.ts';
import type { S3Place } from './s3-place.ts';
import { type S3Connection, type S3Object, S3Reader } from './s3-reader.ts';
import { SharedJobs } from './shared-jobs.ts';
import type { AdapterLocation, FetchOptions, ResolvedFolder } from './source.ts';
import { SourceFault, adapterError } from './source-fault.ts';

const PARALLEL_FILES = 4;

/** How the one who asks calls what lies in a place. */
export interface S3Name {
  readonly source: AdapterSource;
  readonly id: string;
}

/** A prefix with what it held when it was listed. */
interface S3Folder {
  readonly place: S3Place;
  /** Those that an adapter is made of, in the order in which they are fetched. */
  readonly files: readonly S3Object[];
  /** Of names, ETags and sizes. */
  readonly revision: string;
  /** The place's own folder in the cache. */
  readonly repo: string;
}

export interface S3FoldersOptions extends S3Connection {
  readonly cacheDir: string;
  readonly retries: RetryPolicy;
}

export class S3Folders {
  readonly #reader: S3Reader;
  readonly #cache: HubCache;
  readonly #endpoint: string | undefined;
  readonly #retries: RetryPolicy;
  readonly #tag = randomBytes(4).toString('hex');
  readonly #downloads = new SharedJobs<void>();

  constructor({ cacheDir, retries, ...connection }: S3FoldersOptions) {
    this.#reader = new S3Reader(connection, retries);
    this.#cache = new HubCache(cacheDir, this.#tag, 's3');
    this.#endpoint = connection.endpoint;
    this.#retries = retries;
  }

  async locate(place: S3Place, { source, id }: S3Name, signal: AbortSignal): Promise<AdapterLocation> {
    const named = async <T>(work: Promise<T>): Promise<T> => {
      try {
        return await work;
      } catch (error) {
        throw adapterError(error, id, source);
      }
    };
    const folder = await named(this.#list(place, id, signal));
    const fetch = (options: FetchOptions): Promise<ResolvedFolder> => named(this.#fetch(folder, id, options));
    return { source, id, revision: folder.revision, fetch };
  }

  async #list(place: S3Place, adapterId: string, signal: AbortSignal): Promise<S3Folder> {
    const { objects, isComplete } = await this.#reader.list(place, signal);
    const byName = new Map(objects.map((object) => [object.name, object]));
    // A folder's own marker has no name; a folder of folders is no adapter that anybody could have meant.
    if (byName.size === 0 || (byName.size === 1 && byName.has(''))) {
      throw new SourceFault('missing', `${S3} has nothing right under this prefix`);
    }
    const names = [...byName.keys()];
    const reason = isComplete ? adapterFault(names) : `it is one of more than ${objects.length} files under its prefix`;
    if (reason !== undefined) throw new LoraxError('ADAPTER_INVALID', { adapterId, reason });
    const files = adapterFiles(names).flatMap((name) => byName.get(name) ?? []);
    return { place, files, revision: sha256(files.map(contentOf).toSorted()), repo: this.#repo(place) };
  }

  async #fetch(folder: S3Folder, adapterId: string, options: FetchOptions): Promise<ResolvedFolder> {
    options.signal.throwIfAborted();
    const { files, repo, revision } = folder;
    const config = files.find(({ name }) => name === 'config.json');
    if (config !== undefined && !files.some(({ name }) => name === 'adapter_config.json')) {
      // Before the weights come: a whole model named as an adapter would be fetched for nothing.
      await this.#store(folder, [config], options);
      await checkMedusaConfig(this.#cache.blobPath(repo, blobName(config)), adapterId);
    }
    const present = new Set(await this.#cache.fileNames(repo, revision));
    const missing = files.filter(({ name }) => !present.has(name));
    await this.#store(folder, missing, options);
    return {
      folder: await this.#cache.snapshot(repo, revision),
      root: undefined,
      byteLength: files.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0),
      release: () => undefined,
    };
  }

  /** The files appear in the snapshot together, once all are there: an interrupted fetch leaves it recognisably incomplete. */
  async #store(folder: S3Folder, files: readonly S3Object[], { signal, onProgress }: FetchOptions): Promise<void> {
    const received = new Map<string, number>();
    const totalBytes = files.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
    await mapLimited(files, PARALLEL_FILES, signal, (file, fileSignal) =>
      this.#bringBlob(folder, file, fileSignal, (bytes) => {
        received.set(file.name, bytes);
        const receivedBytes = [...received.values()].reduce((sum, part) => sum + part, 0);
        onProgress?.({ file: file.name, receivedBytes, totalBytes });
      }),
    );
    for (const file of files) await this.#cache.link(folder.repo, folder.revision, file.name, blobName(file));
  }

  async #bringBlob(
    { place, repo }: S3Folder,
    file: S3Object,
    signal: AbortSignal,
    onPosition: (bytes: number) => void,
  ): Promise<void> {
    const { name, sizeBytes } = file;
    const path = this.#cache.blobPath(repo, blobName(file));
    if (!(await this.#cache.hasBlob(repo, blobName(file), sizeBytes))) {
      await this.#downloads.run(path, signal, async (jobSignal) => {
        const digest = await this.#reader.digest(place, file, jobSignal);
        const open = (firstByte: number, limited: AbortSignal): Promise<Response> =>
          this.#reader.open(place, file, firstByte, limited);
        const expected = { name, peer: S3, sizeBytes, digest };
        const blob = { ...expected, path, tag: this.#tag, retries: this.#retries, open, onPosition };
        await downloadBlob(blob, jobSignal);
      });
    }
    onPosition(sizeBytes);
  }

  /** The bucket's name is there for people; the hash tells apart all that an endpoint, a bucket and a prefix can be. */
  #repo({ bucket, prefix }: S3Place): string {
    return `${bucket}/${sha256([this.#endpoint ?? '', bucket, prefix]).slice(0, 32)}`;
  }
}

/** Not the ETag alone: not every server makes it from the content. */
function blobName(file: S3Object): string {
  return sha256([contentOf(file)]);
}

function contentOf({ name, etag, sizeBytes }: S3Object): string {
  return JSON.stringify([name, etag, sizeBytes]);
}

function sha256(parts: readonly string[]): string {
  return createHash('sha256').update(JSON.stringify(parts)).digest('hex');
}
