/** What the tests of S3 share, whatever server stands behind: a source behind a proxy that can fail, with an empty cache. */

import { mapLimited } from '../../base/limited.ts';
import { type S3Options, type S3Source, openS3 } from '../s3.ts';
import type { S3Key } from '../s3-reader.ts';
import type { Source } from '../source.ts';
import { ADAPTER_FILES, type FixtureNetwork } from './conformance.ts';
import { FaultyProxy } from './faulty-proxy.ts';
import { makeTemporaryFolder, removeFolder } from './temporary-folder.ts';

const PARALLEL_PUTS = 8;
export const QUICK = { attemptCount: 3, firstPauseMs: 1 };
export const WEIGHTS = 'adapter_model.safetensors';
export const ON_WEIGHTS = /^GET .*\/adapter_model\.safetensors/;

export interface S3Backend {
  readonly endpoint: string;
  readonly credentials: S3Key;
  /** Makes the bucket where there is none. */
  put(bucket: string, key: string, content: string | Uint8Array): Promise<void>;
  remove(bucket: string, key: string): Promise<void>;
  stop(): Promise<void>;
}

type Files = Readonly<Record<string, string | Uint8Array>>;

export class S3Setting {
  readonly backend: S3Backend;
  readonly proxy: FaultyProxy;
  readonly cacheDir = makeTemporaryFolder();
  readonly #published = new Map<string, readonly string[]>();

  private constructor(backend: S3Backend, proxy: FaultyProxy) {
    this.backend = backend;
    this.proxy = proxy;
  }

  static async start(backend: S3Backend): Promise<S3Setting> {
    return new S3Setting(backend, await FaultyProxy.start(backend.endpoint));
  }

  /** Each has its own client; all share the cache. */
  open(options: Partial<S3Options> = {}): S3Source {
    return openS3({
      endpoint: this.proxy.endpoint,
      region: 'us-east-1',
      credentials: this.backend.credentials,
      modelBucket: undefined,
      modelFolder: '',
      cacheDir: this.cacheDir,
      retries: QUICK,
      ...options,
    });
  }

  /** Puts an adapter's files under `bucket/prefix`, in place of what was published there before. */
  async publish(path: string, files: Files): Promise<void> {
    const [, bucket = '', prefix = ''] = /^([^/]+)\/?(.*)$/.exec(path) ?? [];
    const keyOf = (name: string): string => (prefix === '' ? name : `${prefix}/${name}`);
    const gone = (this.#published.get(path) ?? []).filter((name) => files[name] === undefined);
    await Promise.all(gone.map((name) => this.backend.remove(bucket, keyOf(name))));
    const { signal } = new AbortController();
    await mapLimited(Object.entries(files), PARALLEL_PUTS, signal, ([name, content]) =>
      this.backend.put(bucket, keyOf(name), content),
    );
    this.#published.set(path, Object.keys(files));
  }

  network(openAnother: () => Promise<Source>): FixtureNetwork {
    const { proxy } = this;
    return {
      goDown: async () => {
        proxy.isDown = true;
        return async () => void (proxy.isDown = false);
      },
      stallWeights: (stallAfterBytes) => proxy.fail(ON_WEIGHTS, { stallAfterBytes }),
      cutStalled: () => proxy.cutStalled(),
      weightTransfers: () =>
        proxy.requests
          .filter(({ method, path }) => ON_WEIGHTS.test(`${method} ${path}`))
          .map(({ headers }) => Number(/^bytes=(\d+)-/.exec(headers.range ?? '')?.[1] ?? 0)),
      openAnother,
    };
  }

  /** Leaves the backend to whoever started it. */
  async stop(): Promise<void> {
    await this.proxy.stop();
    removeFolder(this.cacheDir);
  }
}

export function adapterWith(weights: string | Uint8Array = 'weights'): Record<string, string | Uint8Array> {
  return { 'adapter_config.json': ADAPTER_FILES['adapter_config.json'], [WEIGHTS]: weights };
}
