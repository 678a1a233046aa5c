/**
 * The Hub's HTTP routes: what a revision holds, what a file weighs, and its bytes. Tokens go to the Hub's own origin only.
 * Knows nothing about the cache; every failure is a `SourceFault`.
 */

import { redirectFault } from './address.ts';
import { SourceFault, networkFault, statusFault } from './source-fault.ts';
import { type HubId, isCommit } from './hub-id.ts';
import { IdleLimit } from './idle-limit.ts';
import { discard, textOf } from './response-bytes.ts';
import { type RetryPolicy, withRetries } from './retry.ts';

/** How messages call it. */
export const HUB = 'the Hub';
const METADATA_LIMIT_MS = 15_000;
const MAX_REDIRECTS = 8;
/** A listing of 100,000 files; more is not a model. */
const MAX_LISTING_BYTES = 16 << 20;

export interface Listing {
  readonly commit: string;
  /** Paths in the repository, as the Hub wrote them: not to be trusted as paths here. */
  readonly names: readonly string[];
}

export interface RemoteFile {
  readonly name: string;
  /** Names the content, and the blob on disk; a sha256 in hexadecimal for large files. */
  readonly etag: string;
  readonly sizeBytes: number;
}

/** A revision of a repository that the Hub has resolved, and who asks for it. */
export interface HubRevision {
  readonly repo: string;
  readonly commit: string;
  readonly token: string | undefined;
}

interface HubRequest {
  readonly method: 'GET' | 'HEAD';
  readonly url: URL;
  readonly token: string | undefined;
  readonly headers?: Readonly<Record<string, string>>;
  /** Whether a redirect to this place is followed; the redirect itself is the answer where it is not. */
  readonly follows: (target: URL, response: Response) => boolean;
}

export class HubHttp {
  readonly #endpoint: URL;
  readonly #retries: RetryPolicy;

  constructor(endpoint: URL, retries: RetryPolicy) {
    this.#endpoint = endpoint;
    this.#retries = retries;
  }

  /** The files of a revision and the commit it stands for now. */
  async listing({ repo, revision }: HubId, token: string | undefined, signal: AbortSignal): Promise<Listing> {
    const url = this.#url(`api/models/${repo}/revision/${encodeURIComponent(revision)}`);
    return this.#metadata(signal, async (limited) => {
      const response = await this.#send({ method: 'GET', url, token, follows: this.#isOwn }, limited);
      return parseListing(await textOf(response, MAX_LISTING_BYTES, HUB));
    });
  }

  /** A file's identity and size. Follows redirects on the Hub's own origin only, as far as they do not say it themselves. */
  async head({ repo, commit, token }: HubRevision, name: string, signal: AbortSignal): Promise<RemoteFile> {
    const url = this.#fileUrl(repo, commit, name);
    const follows = (target: URL, response: Response): boolean =>
      this.#isOwn(target) && !response.headers.has('x-linked-etag');
    return this.#metadata(signal, async (limited) => {
      const response = await this.#send({ method: 'HEAD', url, token, follows }, limited);
      return remoteFile(name, response.headers);
    });
  }

  /**
   * A file's bytes from `firstByte` on: the answer is 206, 200 with the whole file, or 416 where it ends before. Tried once;
   * the signal must bound it in time, and the caller reads or cancels the body.
   */
  async open(
    { repo, commit, token }: HubRevision,
    name: string,
    firstByte: number,
    signal: AbortSignal,
  ): Promise<Response> {
    const headers: Record<string, string> = firstByte > 0 ? { range: `bytes=${firstByte}-` } : {};
    const url = this.#fileUrl(repo, commit, name);
    return this.#send({ method: 'GET', url, token, headers, follows: () => true }, signal);
  }

  #metadata<T>(signal: AbortSignal, work: (limited: AbortSignal) => Promise<T>): Promise<T> {
    return withRetries(this.#retries, signal, async () => {
      const limit = new IdleLimit(signal, METADATA_LIMIT_MS, HUB);
      try {
        return await work(limit.signal);
      } finally {
        limit.dispose();
      }
    });
  }

  /** Follows redirects by hand, because `fetch` would not look at where they lead. */
  async #send({ method, url, token, headers, follows }: HubRequest, signal: AbortSignal): Promise<Response> {
    for (let place = url, redirects = 0; redirects <= MAX_REDIRECTS; redirects++) {
      const response = await this.#fetch(place, method, this.#isOwn(place) ? token : undefined, headers, signal);
      const location = response.status >= 300 && response.status < 400 ? response.headers.get('location') : null;
      if (location === null) {
        if (response.ok || response.status === 416) return response;
        await discard(response);
        throw statusFault(response, HUB);
      }
      const target = await this.#redirectTarget(place, location);
      await discard(response);
      if (!follows(target, response)) return response;
      place = target;
    }
    throw new SourceFault('broken', `the Hub redirected more than ${MAX_REDIRECTS} times`);
  }

  async #fetch(
    url: URL,
    method: string,
    token: string | undefined,
    headers: Readonly<Record<string, string>> | undefined,
    signal: AbortSignal,
  ): Promise<Response> {
    const authorization: Record<string, string> = token === undefined ? {} : { authorization: `Bearer ${token}` };
    // A compressed answer would not have the file's length.
    const all = { ...headers, ...authorization, 'accept-encoding': 'identity', 'user-agent': 'lorax' };
    try {
      return await fetch(url, { method, headers: all, redirect: 'manual', signal });
    } catch (error) {
      throw networkFault(error, HUB);
    }
  }

  async #redirectTarget(from: URL, location: string): Promise<URL> {
    if (!URL.canParse(location, from.href))
      throw new SourceFault('broken', 'the Hub redirected to something that is no URL');
    const target = new URL(location, from);
    const fault = await redirectFault(this.#endpoint, target);
    if (fault !== undefined) throw new SourceFault('broken', `the Hub answered with ${fault}, which is not followed`);
    return target;
  }

  readonly #isOwn = (url: URL): boolean => url.origin === this.#endpoint.origin;

  #fileUrl(repo: string, commit: string, name: string): URL {
    return this.#url(`${repo}/resolve/${commit}/${encodeURIComponent(name)}`);
  }

  #url(path: string): URL {
    return new URL(`${this.#endpoint.pathname.replace(/\/+$/, '')}/${path}`, this.#endpoint);
  }
}

function remoteFile(name: string, headers: Headers): RemoteFile {
  const quoted = headers.get('x-linked-etag') ?? headers.get('etag') ?? '';
  const etag = quoted.replace(/^W\//, '').replaceAll('"', '');
  const size = headers.get('x-linked-size') ?? headers.get('content-length') ?? '';
  if (!/^\w[\w-]{0,127}$/.test(etag) || !/^\d{1,15}$/.test(size)) {
    throw new SourceFault('broken', `the Hub gave no usable identity or size for \`${name}\``);
  }
  return { name, etag, sizeBytes: Number(size) };
}

function parseListing(text: string): Listing {
  const value = parseJson(text);
  if (typeof value === 'object' && value !== null && 'sha' in value && 'siblings' in value) {
    const { sha, siblings } = value;
    if (typeof sha === 'string' && isCommit(sha) && Array.isArray(siblings)) {
      return { commit: sha, names: siblings.map(siblingName) };
    }
  }
  throw new SourceFault('broken', 'the Hub’s answer is not a listing of a repository');
}

function siblingName(sibling: unknown): string {
  if (typeof sibling === 'object' && sibling !== null && 'rfilename' in sibling) {
    if (typeof sibling.rfilename === 'string') return sibling.rfilename;
  }
  throw new SourceFault('broken', 'the Hub listed a file without a name');
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw new SourceFault('broken', 'the Hub’s answer is not JSON');
  }
}
