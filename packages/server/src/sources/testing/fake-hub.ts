/**
 * A Hub and its content network on two local ports, for tests: revisions, listings, redirects of large files, ranges, access
 * rules, and faults on demand. Records every request so that tests can see where a token went.
 */

import { createHash } from 'node:crypto';
import { type IncomingMessage, type Server, type ServerResponse, createServer } from 'node:http';
import type { AddressInfo } from 'node:net';

export type HubFiles = Readonly<Record<string, string | Uint8Array>>;

export interface RepoOptions {
  /** Tokens that open the repository; undefined is everybody. */
  readonly tokens?: readonly string[];
  /** `gated` repositories list their files to everybody. */
  readonly gated?: boolean;
}

/** What to do instead of answering, `times` times, to requests whose `METHOD path` matches. */
export interface Trouble {
  readonly on: RegExp;
  readonly times?: number;
  readonly status?: number;
  readonly headers?: Readonly<Record<string, string>>;
  /** Sends so many bytes of the body, then nothing until the client goes away or `cutStalled` breaks the connection. */
  readonly stallAfterBytes?: number;
  /** Replaces the whole file's content where it is sent, but not what is said about it. */
  readonly content?: Uint8Array;
  /** Answers 200 with the whole file to a range request. */
  readonly ignoreRange?: boolean;
}

export interface SeenRequest {
  readonly at: 'hub' | 'cdn';
  readonly method: string;
  readonly path: string;
  readonly authorization: string | undefined;
  readonly range: string | undefined;
}

interface Repo {
  readonly files: ReadonlyMap<string, Buffer>;
  readonly options: RepoOptions;
  readonly commit: string;
}

type PendingTrouble = Trouble & { left: number };

/** Files that the Hub keeps as large objects: sha256 as etag, sent from the content network. */
const LARGE = /\.(?:safetensors|bin|model)$/;

export class FakeHub {
  readonly requests: SeenRequest[] = [];
  readonly #repos = new Map<string, Repo>();
  readonly #troubles: PendingTrouble[] = [];
  readonly #stalled = new Set<ServerResponse>();
  /** Breaks every connection without an answer. */
  isDown = false;
  readonly #hub: Server;
  readonly #cdn: Server;

  private constructor() {
    this.#hub = createServer((request, response) => this.#answer('hub', request, response));
    this.#cdn = createServer((request, response) => this.#answer('cdn', request, response));
  }

  static async start(): Promise<FakeHub> {
    const fake = new FakeHub();
    await Promise.all([listen(fake.#hub), listen(fake.#cdn)]);
    return fake;
  }

  get endpoint(): string {
    return originOf(this.#hub);
  }

  /** Publishes a new commit of a repository on `main`; earlier commits are gone. Returns the commit. */
  publish(repo: string, files: HubFiles, options: RepoOptions = {}): string {
    const contents = new Map(Object.entries(files).map(([name, content]) => [name, Buffer.from(content)]));
    const digest = createHash('sha1').update(repo);
    for (const [name, content] of contents) digest.update(name).update(content);
    const commit = digest.digest('hex');
    this.#repos.set(repo, { files: contents, options, commit });
    return commit;
  }

  trouble(trouble: Trouble): void {
    this.#troubles.push({ ...trouble, left: trouble.times ?? 1 });
  }

  /** Breaks the connections of answers that stopped in the middle. */
  cutStalled(): void {
    for (const response of this.#stalled) response.destroy();
    this.#stalled.clear();
  }

  /** Requests as `at METHOD path`, for comparing. */
  get seen(): readonly string[] {
    return this.requests.map(({ at, method, path }) => `${at} ${method} ${path}`);
  }

  async stop(): Promise<void> {
    await Promise.all([close(this.#hub), close(this.#cdn)]);
  }

  #answer(at: 'hub' | 'cdn', request: IncomingMessage, response: ServerResponse): void {
    if (this.isDown) {
      request.socket.destroy();
      return;
    }
    const { method = '', url: path = '' } = request;
    const { authorization, range } = request.headers;
    this.requests.push({ at, method, path, authorization, range });
    const trouble = this.#troubles.find(({ on, left }) => left > 0 && on.test(`${method} ${path}`));
    if (trouble !== undefined) trouble.left--;
    if (trouble?.status !== undefined) response.writeHead(trouble.status, trouble.headers).end();
    else if (at === 'cdn') this.#sendLarge(request, response, trouble);
    else this.#route(request, response, trouble);
  }

  #route(request: IncomingMessage, response: ServerResponse, trouble: Trouble | undefined): void {
    const path = decodeURIComponent(request.url ?? '');
    const [, api, repoName = '', revision = '', name = ''] =
      /^\/(api\/models\/)?(.+?)\/(?:revision|resolve)\/([^/]+|refs\/pr\/\d+)(?:\/(.+))?$/.exec(path) ?? [];
    const repo = this.#repos.get(repoName);
    const token = request.headers.authorization?.replace('Bearer ', '');
    const isOpen = repo?.options.tokens === undefined || repo.options.tokens.includes(token ?? '');
    const isListing = api !== undefined;
    if (repo === undefined || (!isOpen && !(isListing && repo.options.gated === true))) {
      response.writeHead(isOpen ? 404 : token === undefined ? 401 : 403).end();
    } else if (revision !== repo.commit && revision !== 'main') response.writeHead(404).end();
    else if (isListing) sendListing(repo, response);
    else this.#sendFile(repo, name, request, response, trouble);
  }

  #sendFile(
    repo: Repo,
    name: string,
    request: IncomingMessage,
    response: ServerResponse,
    trouble: Trouble | undefined,
  ): void {
    const content = repo.files.get(name);
    response.setHeader('x-repo-commit', repo.commit);
    if (content === undefined) response.writeHead(404).end();
    else if (LARGE.test(name)) {
      const sha256 = createHash('sha256').update(content).digest('hex');
      response.writeHead(302, {
        location: `${originOf(this.#cdn)}/${sha256}?signature=secret`,
        'x-linked-etag': `"${sha256}"`,
        'x-linked-size': content.length,
      });
      response.end();
    } else {
      const sha1 = createHash('sha1').update(`blob ${content.length}\0`).update(content).digest('hex');
      response.setHeader('etag', `W/"${sha1}"`);
      sendContent(content, request, response, trouble, this.#stalled);
    }
  }

  #sendLarge(request: IncomingMessage, response: ServerResponse, trouble: Trouble | undefined): void {
    const sha256 = request.url?.slice(1).split('?')[0];
    const all = [...this.#repos.values()].flatMap((repo) => [...repo.files.values()]);
    const content = all.find((file) => createHash('sha256').update(file).digest('hex') === sha256);
    if (content === undefined) response.writeHead(404).end();
    else sendContent(content, request, response, trouble, this.#stalled);
  }
}

function sendListing(repo: Repo, response: ServerResponse): void {
  const siblings = [...repo.files.keys()].map((rfilename) => ({ rfilename }));
  response.setHeader('content-type', 'application/json');
  response.end(JSON.stringify({ sha: repo.commit, siblings }));
}

function sendContent(
  announced: Buffer,
  request: IncomingMessage,
  response: ServerResponse,
  trouble: Trouble | undefined,
  stalled: Set<ServerResponse>,
): void {
  const content = trouble?.content === undefined ? announced : Buffer.from(trouble.content);
  const range = trouble?.ignoreRange === true ? undefined : /^bytes=(\d+)-$/.exec(request.headers.range ?? '');
  const first = Number(range?.[1] ?? 0);
  if (range && first >= content.length) {
    response.writeHead(416).end();
    return;
  }
  const body = content.subarray(first);
  response.setHeader('content-length', body.length);
  if (range) response.setHeader('content-range', `bytes ${first}-${content.length - 1}/${content.length}`);
  response.writeHead(range ? 206 : 200);
  if (request.method === 'HEAD') response.end();
  else if (trouble?.stallAfterBytes !== undefined) {
    response.write(body.subarray(0, trouble.stallAfterBytes));
    stalled.add(response);
  } else response.end(body);
}

function originOf(server: Server): string {
  const { port } = server.address() as AddressInfo;
  return `http://127.0.0.1:${port}`;
}

function listen(server: Server): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(0, '127.0.0.1', resolve);
  });
}

function close(server: Server): Promise<void> {
  server.closeAllConnections();
  return new Promise((resolve) => server.close(() => resolve()));
}
