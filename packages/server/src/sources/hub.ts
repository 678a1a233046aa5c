/**
 * The Hugging Face Hub as a source: finds a repository's files in the cache or brings them there. A branch or tag is asked
 * for with the caller's token every time, so that what one caller fetched does not open it to the next.
 */

import { LoraxError, invalidField } from '../base/errors.ts';
import { checkAdapterFolder, checkMedusaConfig } from './adapter-folder.ts';
import { checkAdapterId, checkToken, isToken } from './adapter-id.ts';
import type { DiskCache } from './disk-cache.ts';
import { HUB, HubHttp, type HubRevision, type RemoteFile } from './hub-http.ts';
import { type HubId, isCommit, parseHubId } from './hub-id.ts';
import { mapLimited } from '../base/limited.ts';
import { adapterFault, adapterFiles, modelFault, modelFiles } from './repo-files.ts';
import { DEFAULT_RETRIES, type RetryPolicy } from './retry.ts';
import { type SnapshotFile, SnapshotStore } from './snapshot-store.ts';
import { SourceFault, adapterError, modelError } from './source-fault.ts';
import type { SourceLog } from './source-log.ts';
import type { AdapterLocation, FetchOptions, LocateOptions, ResolvedFolder, Source } from './source.ts';

const PUBLIC_HUB = 'https://huggingface.co';

const PARALLEL_HEADS = 4;
/** Large files are named by their content. */
const SHA256 = /^[0-9a-f]{64}$/;

export interface HubOptions {
  /** `HF_ENDPOINT`; the public Hub when undefined. */
  readonly endpoint?: string | undefined;
  readonly cacheDir: string;
  /** Asks nobody; what the cache lacks does not exist. */
  readonly offline: boolean;
  /** The operator's token, for base models. */
  readonly token?: string | undefined;
  /** `LORAX_USE_GLOBAL_HF_TOKEN`: the operator's token also opens adapters to requests that bring none. */
  readonly sharesToken?: boolean;
  /** Without one, adapters stay on disk for ever. */
  readonly disk?: DiskCache | undefined;
  readonly log?: SourceLog | undefined;
  readonly retries?: RetryPolicy;
}

export interface ResolvedModel {
  readonly id: string;
  readonly folder: string;
  /** The commit; undefined for a plain folder. */
  readonly revision: string | undefined;
}

export interface Hub extends Source {
  /** A base model's configuration, tokenizer and safetensors. Rejects with MODEL_NOT_FOUND or MODEL_INVALID. */
  fetchModel(repo: string, revision: string | undefined, options: FetchOptions): Promise<ResolvedModel>;
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
  readonly #store: SnapshotStore;
  readonly #offline: boolean;
  readonly #token: string | undefined;
  readonly #sharedToken: string | undefined;

  constructor(options: HubOptions) {
    const { endpoint = PUBLIC_HUB, offline, token, sharesToken = false, retries = DEFAULT_RETRIES } = options;
    this.#http = new HubHttp(parseEndpoint(endpoint), retries);
    this.#store = new SnapshotStore({ ...options, peer: HUB, retries });
    this.#offline = offline;
    this.#token = token;
    this.#sharedToken = sharesToken ? token : undefined;
  }

  async locate(adapterId: string, { apiToken, signal }: LocateOptions): Promise<AdapterLocation> {
    signal.throwIfAborted();
    const id = parseAdapterId(adapterId);
    if (apiToken !== undefined) checkToken(apiToken);
    try {
      return await (this.#offline
        ? this.#locateCached(id)
        : this.#locateRemote(id, apiToken ?? this.#sharedToken, signal));
    } catch (error) {
      throw adapterError(error, id.repo, 'hub');
    }
  }

  /** The Hub holds more repositories than anybody would list. */
  async list(): Promise<readonly string[]> {
    return [];
  }

  async fetchModel(repo: string, revision: string | undefined, options: FetchOptions): Promise<ResolvedModel> {
    options.signal.throwIfAborted();
    const id = parseHubId(repo, revision);
    if (id === undefined)
      throw new LoraxError('MODEL_NOT_FOUND', { modelId: repo, reason: 'it is no Hub repository id and revision' });
    try {
      return (await this.#findModel(id)) ?? (await this.#fetchModel(id, options));
    } catch (error) {
      throw modelError(error, repo);
    }
  }

  /** A commit can be used without asking: a branch may have moved. */
  async #findModel(id: HubId): Promise<ResolvedModel | undefined> {
    if (!this.#offline && !isCommit(id.revision)) return undefined;
    const commit = await this.#store.cache.commitOf(id);
    if (commit === undefined || modelFault(await this.#store.cache.fileNames(id.repo, commit)) !== undefined) {
      return undefined;
    }
    return this.#model(id, commit);
  }

  /** Offline nobody can be asked who may read what: the operator who chose that opens all that the cache holds. */
  async #locateCached(id: HubId): Promise<AdapterLocation> {
    const commit = await this.#store.cache.commitOf(id);
    if (commit === undefined || adapterFault(await this.#store.cache.fileNames(id.repo, commit)) !== undefined) {
      throw new SourceFault('missing', 'it is not in the cache, and the server is offline');
    }
    const snapshot = { source: this.name, id: id.repo, repo: id.repo, revision: commit } as const;
    const fetch = (options: FetchOptions): Promise<ResolvedFolder> =>
      this.#store.fetchAdapter(snapshot, options, async () => {
        await checkAdapterFolder(await this.#store.cache.snapshot(id.repo, commit), id.repo);
      });
    return this.#location(id, commit, fetch);
  }

  async #locateRemote(id: HubId, token: string | undefined, signal: AbortSignal): Promise<AdapterLocation> {
    const { commit, names } = await this.#http.listing(id, token, signal);
    const reason = adapterFault(names);
    if (reason !== undefined) throw new LoraxError('ADAPTER_INVALID', { adapterId: id.repo, reason });
    const revision: HubRevision = { repo: id.repo, commit, token };
    const configName = names.includes('adapter_config.json') ? 'adapter_config.json' : 'config.json';
    // Gated repositories show their listing to everybody and their files to some.
    const config = await this.#http.head(revision, configName, signal);
    const files = adapterFiles(names);
    return this.#location(id, commit, (options) => this.#fetchAdapter(id, revision, files, config, options));
  }

  #location(id: HubId, commit: string, fetch: AdapterLocation['fetch']): AdapterLocation {
    const guarded: AdapterLocation['fetch'] = async (options) => {
      try {
        return await fetch(options);
      } catch (error) {
        throw adapterError(error, id.repo, 'hub');
      }
    };
    return { source: 'hub', id: id.repo, revision: commit, fetch: guarded };
  }

  async #fetchAdapter(
    id: HubId,
    revision: HubRevision,
    files: readonly string[],
    config: RemoteFile,
    options: FetchOptions,
  ): Promise<ResolvedFolder> {
    const { repo, commit } = revision;
    return this.#store.fetchAdapter({ source: this.name, id: repo, repo, revision: commit }, options, async (bring) => {
      const { cache } = this.#store;
      const present = await cache.fileNames(repo, commit);
      if (!present.includes(config.name)) await bring([this.#file(revision, config)]);
      // Before the weights come: a whole model named as an adapter would be fetched for nothing.
      if (config.name === 'config.json') await checkMedusaConfig(cache.filePath(repo, commit, config.name), repo);
      const missing = await this.#missing(revision, files, options.signal);
      if (missing.length > 0) await bring(missing);
      await cache.writeRef(id, commit);
    });
  }

  async #fetchModel(id: HubId, options: FetchOptions): Promise<ResolvedModel> {
    if (this.#offline) {
      throw new SourceFault('missing', `revision ${id.revision} is not in the cache, and the server is offline`);
    }
    const { commit, names } = await this.#http.listing(id, this.#token, options.signal);
    const reason = modelFault(names);
    if (reason !== undefined) throw new LoraxError('MODEL_INVALID', { modelId: id.repo, reason });
    const revision: HubRevision = { repo: id.repo, commit, token: this.#token };
    const missing = await this.#missing(revision, modelFiles(names), options.signal);
    await this.#store.bring({ repo: id.repo, revision: commit }, missing, options);
    await this.#store.cache.writeRef(id, commit);
    return this.#model(id, commit);
  }

  /** Those of the files that the snapshot lacks. */
  async #missing(
    revision: HubRevision,
    names: readonly string[],
    signal: AbortSignal,
  ): Promise<readonly SnapshotFile[]> {
    const present = new Set(await this.#store.cache.fileNames(revision.repo, revision.commit));
    const missing = names.filter((name) => !present.has(name));
    return mapLimited(missing, PARALLEL_HEADS, signal, async (name, headSignal) =>
      this.#file(revision, await this.#http.head(revision, name, headSignal)),
    );
  }

  #file(revision: HubRevision, { name, etag, sizeBytes }: RemoteFile): SnapshotFile {
    const digest = SHA256.test(etag) ? ({ algorithm: 'sha256', hex: etag } as const) : undefined;
    return {
      name,
      blob: etag,
      sizeBytes,
      digest: async () => digest,
      open: (firstByte, signal) => this.#http.open(revision, name, firstByte, signal),
    };
  }

  async #model(id: HubId, commit: string): Promise<ResolvedModel> {
    return { id: id.repo, folder: await this.#store.cache.snapshot(id.repo, commit), revision: commit };
  }
}

function parseAdapterId(adapterId: string): HubId {
  checkAdapterId(adapterId);
  const id = parseHubId(adapterId);
  if (id !== undefined) return id;
  throw invalidField('adapter_id', 'must be a Hub repository: `org/name` or `org/name@revision`');
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
