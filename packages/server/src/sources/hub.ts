/**
 * The Hugging Face Hub as a source: finds a repository's files in the cache or brings them there. A branch or tag is asked
 * for with the caller's token every time, so that what one caller fetched does not open it to the next.
 */

import { randomBytes } from 'node:crypto';

import { LoraxError, invalidField } from '../base/errors.ts';
import { checkAdapterFolder, checkMedusaConfig } from './adapter-folder.ts';
import { checkAdapterId, checkToken, isToken } from './adapter-id.ts';
import { downloadBlob } from './blob-download.ts';
import { HubCache } from './hub-cache.ts';
import { HubFault, adapterError, modelError } from './hub-fault.ts';
import { HubHttp, type HubRevision, type RemoteFile } from './hub-http.ts';
import { type HubId, isCommit, isRevision, parseHubId } from './hub-id.ts';
import { mapLimited } from './limited.ts';
import { adapterFault, adapterFiles, modelFault, modelFiles } from './repo-files.ts';
import { DEFAULT_RETRIES, type RetryPolicy } from './retry.ts';
import { SharedJobs } from './shared-jobs.ts';
import type { ResolveOptions, ResolvedFolder, Source } from './source.ts';

const PUBLIC_HUB = 'https://huggingface.co';

const PARALLEL_FILES = 4;

export interface HubOptions {
  /** `HF_ENDPOINT`; the public Hub when undefined. */
  readonly endpoint?: string | undefined;
  readonly cacheDir: string;
  /** Asks nobody; what the cache lacks does not exist. */
  readonly offline: boolean;
  /** The operator's token, for base models only: adapters are fetched with their callers' tokens. */
  readonly token?: string | undefined;
  readonly retries?: RetryPolicy;
}

/** Over all files that have to be fetched; what the cache already holds does not count. */
export interface FetchProgress {
  readonly file: string;
  readonly receivedBytes: number;
  readonly totalBytes: number;
}

export interface FetchOptions {
  readonly signal: AbortSignal;
  readonly onProgress?: ((progress: FetchProgress) => void) | undefined;
}

export interface Hub extends Source {
  /** A base model's configuration, tokenizer and safetensors. Rejects with MODEL_NOT_FOUND or MODEL_INVALID. */
  fetchModel(repo: string, revision: string | undefined, options: FetchOptions): Promise<ResolvedFolder>;
}

/** Throws OPTION_INVALID when the endpoint is not a plain http or https URL, or the token cannot be sent. */
export function openHub(options: HubOptions): Hub {
  if (options.token !== undefined && !isToken(options.token)) {
    throw new LoraxError('OPTION_INVALID', { option: 'HF_TOKEN', reason: 'must be visible ASCII characters only' });
  }
  return new HuggingFaceHub(options);
}

class HuggingFaceHub implements Hub {
  readonly name = 'hub';
  readonly #http: HubHttp;
  readonly #cache: HubCache;
  readonly #offline: boolean;
  readonly #token: string | undefined;
  readonly #retries: RetryPolicy;
  readonly #tag = randomBytes(4).toString('hex');
  readonly #downloads = new SharedJobs<void>();

  constructor({ endpoint = PUBLIC_HUB, cacheDir, offline, token, retries = DEFAULT_RETRIES }: HubOptions) {
    this.#http = new HubHttp(parseEndpoint(endpoint), retries);
    this.#cache = new HubCache(cacheDir, this.#tag);
    this.#offline = offline;
    this.#token = token;
    this.#retries = retries;
  }

  async resolve(adapterId: string, { apiToken, revision, signal }: ResolveOptions): Promise<ResolvedFolder> {
    signal.throwIfAborted();
    const id = parseAdapterId(adapterId, revision);
    if (apiToken !== undefined) checkToken(apiToken);
    try {
      const folder = await this.#findCached(id, adapterFault);
      if (folder !== undefined) {
        await checkAdapterFolder(folder.folder, id.repo);
        return folder;
      }
      return await this.#fetchAdapter(id, apiToken, signal);
    } catch (error) {
      throw adapterError(error, id.repo);
    }
  }

  /** The Hub holds more repositories than anybody would list. */
  async list(): Promise<readonly string[]> {
    return [];
  }

  async fetchModel(repo: string, revision: string | undefined, options: FetchOptions): Promise<ResolvedFolder> {
    options.signal.throwIfAborted();
    const id = parseHubId(repo, revision);
    if (id === undefined)
      throw new LoraxError('MODEL_NOT_FOUND', { modelId: repo, reason: 'it is no Hub repository id and revision' });
    try {
      return (await this.#findCached(id, modelFault)) ?? (await this.#fetchModel(id, options));
    } catch (error) {
      throw modelError(error, repo);
    }
  }

  /**
   * Only a commit can be used without asking: a branch may have moved. Whether this caller may read the repository is not
   * asked here either, so whoever knows the commit of a cached private adapter can use it.
   */
  async #findCached(
    id: HubId,
    fault: (names: readonly string[]) => string | undefined,
  ): Promise<ResolvedFolder | undefined> {
    if (!this.#offline && !isCommit(id.revision)) return undefined;
    const commit = await this.#cache.commitOf(id);
    if (commit === undefined || fault(await this.#cache.fileNames(id.repo, commit)) !== undefined) return undefined;
    return this.#resolved(id, commit);
  }

  async #fetchAdapter(id: HubId, token: string | undefined, signal: AbortSignal): Promise<ResolvedFolder> {
    if (this.#offline) throw new HubFault('missing', 'it is not in the cache, and the server is offline');
    const { commit, names } = await this.#http.listing(id, token, signal);
    const reason = adapterFault(names);
    if (reason !== undefined) throw new LoraxError('ADAPTER_INVALID', { adapterId: id.repo, reason });
    const revision: HubRevision = { repo: id.repo, commit, token };
    const files = adapterFiles(names);
    const isLora = files.includes('adapter_config.json');
    // Asked for even when it is cached: gated repositories show their listing to everybody and their files to some.
    const config = await this.#http.head(revision, isLora ? 'adapter_config.json' : 'config.json', signal);
    await this.#store(revision, [config], { signal });
    // Before the weights come: a whole model named as an adapter would be fetched for nothing.
    if (!isLora) await checkMedusaConfig(this.#cache.blobPath(id.repo, config.etag), id.repo);
    await this.#complete(revision, files, { signal });
    await this.#cache.writeRef(id, commit);
    return this.#resolved(id, commit);
  }

  async #fetchModel(id: HubId, options: FetchOptions): Promise<ResolvedFolder> {
    if (this.#offline) {
      throw new HubFault('missing', `revision ${id.revision} is not in the cache, and the server is offline`);
    }
    const { commit, names } = await this.#http.listing(id, this.#token, options.signal);
    const reason = modelFault(names);
    if (reason !== undefined) throw new LoraxError('MODEL_INVALID', { modelId: id.repo, reason });
    await this.#complete({ repo: id.repo, commit, token: this.#token }, modelFiles(names), options);
    await this.#cache.writeRef(id, commit);
    return this.#resolved(id, commit);
  }

  /** Brings those of the files that the snapshot lacks. */
  async #complete(revision: HubRevision, names: readonly string[], options: FetchOptions): Promise<void> {
    const present = new Set(await this.#cache.fileNames(revision.repo, revision.commit));
    const missing = names.filter((name) => !present.has(name));
    const heads = await mapLimited(missing, PARALLEL_FILES, options.signal, (name, signal) =>
      this.#http.head(revision, name, signal),
    );
    await this.#store(revision, heads, options);
  }

  /** The files appear in the snapshot together, once all are there: an interrupted fetch leaves it recognisably incomplete. */
  async #store(
    revision: HubRevision,
    files: readonly RemoteFile[],
    { signal, onProgress }: FetchOptions,
  ): Promise<void> {
    const received = new Map<string, number>();
    const totalBytes = files.reduce((sum, file) => sum + file.sizeBytes, 0);
    await mapLimited(files, PARALLEL_FILES, signal, (file, fileSignal) =>
      this.#bringBlob(revision, file, fileSignal, (bytes) => {
        received.set(file.name, bytes);
        const receivedBytes = [...received.values()].reduce((sum, part) => sum + part, 0);
        onProgress?.({ file: file.name, receivedBytes, totalBytes });
      }),
    );
    for (const { name, etag } of files) await this.#cache.link(revision.repo, revision.commit, name, etag);
  }

  async #bringBlob(
    revision: HubRevision,
    { name, etag, sizeBytes }: RemoteFile,
    signal: AbortSignal,
    onPosition: (bytes: number) => void,
  ): Promise<void> {
    const path = this.#cache.blobPath(revision.repo, etag);
    if (!(await this.#cache.hasBlob(revision.repo, etag, sizeBytes))) {
      const open = (firstByte: number, limited: AbortSignal): Promise<Response> =>
        this.#http.open(revision, name, firstByte, limited);
      const blob = { path, name, sizeBytes, tag: this.#tag, retries: this.#retries, open, onPosition };
      await this.#downloads.run(path, signal, (jobSignal) => downloadBlob(blob, jobSignal));
    }
    onPosition(sizeBytes);
  }

  async #resolved(id: HubId, commit: string): Promise<ResolvedFolder> {
    return { id: id.repo, folder: await this.#cache.snapshot(id.repo, commit), root: undefined, revision: commit };
  }
}

function parseAdapterId(adapterId: string, revision: string | undefined): HubId {
  checkAdapterId(adapterId);
  const id = parseHubId(adapterId, revision);
  if (id === undefined || (revision !== undefined && !isRevision(revision))) {
    throw invalidField('adapter_id', 'must be a Hub repository: `org/name` or `org/name@revision`');
  }
  if (revision !== undefined && id.revision !== revision) {
    throw invalidField('adapter_id', 'names another revision than the request does');
  }
  return id;
}

function parseEndpoint(endpoint: string): URL {
  const url = URL.canParse(endpoint) ? new URL(endpoint) : undefined;
  if (url === undefined || !/^https?:$/.test(url.protocol) || url.username !== '' || url.password !== '') {
    throw new LoraxError('OPTION_INVALID', {
      option: 'HF_ENDPOINT',
      reason: 'must be an http or https URL without a user',
    });
  }
  return url;
}
