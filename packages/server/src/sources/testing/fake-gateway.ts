/** Predibase's gateway as far as adapters need it, for tests: versions with paths and states, the older route, and tokens. */

import { type IncomingMessage, type Server, type ServerResponse, createServer } from 'node:http';
import type { AddressInfo } from 'node:net';

interface Answer {
  readonly body: unknown;
  /** The only one that opens it; undefined is everybody. */
  readonly token: string | undefined;
}

export class FakeGateway {
  readonly #answers = new Map<string, Answer>();
  readonly #server: Server;

  private constructor() {
    this.#server = createServer((request, response) => this.#answer(request, response));
  }

  static async start(): Promise<FakeGateway> {
    const fake = new FakeGateway();
    await new Promise<void>((resolve) => fake.#server.listen(0, '127.0.0.1', resolve));
    return fake;
  }

  get endpoint(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  /** `repo` and `version` as a URL has them. */
  addVersion(repo: string, version: string, body: unknown, token?: string): void {
    this.#answers.set(`/v2/repos/${repo}/version/${version}`, { body, token });
  }

  /** As the gateway had it before. `query` is empty for the latest version. */
  addLegacy(repo: string, query: string, body: unknown): void {
    this.#answers.set(`/v1/models/version/name/${repo}${query}`, { body, token: undefined });
  }

  async stop(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  #answer(request: IncomingMessage, response: ServerResponse): void {
    const found = this.#answers.get(request.url ?? '');
    if (found === undefined) response.writeHead(404).end('{}');
    else if (found.token !== undefined && request.headers.authorization !== `Bearer ${found.token}`) {
      response.writeHead(request.headers.authorization === undefined ? 401 : 403).end('{}');
    } else response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(found.body));
  }
}
