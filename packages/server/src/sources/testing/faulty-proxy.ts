/** An HTTP proxy in front of a test's server that passes everything on as it came, until it is told to fail. Records every request. */

import { type IncomingMessage, type Server, type ServerResponse, createServer, request } from 'node:http';
import type { AddressInfo } from 'node:net';

export interface ProxiedRequest {
  readonly method: string;
  /** As it was sent, with its query. */
  readonly path: string;
  readonly headers: IncomingMessage['headers'];
}

interface Fault {
  readonly on: RegExp;
  left: number;
  /** Answered instead. */
  readonly status?: number;
  readonly headers?: Readonly<Record<string, string>>;
  /** Sends so many bytes of the body, then nothing until the client goes away or `cutStalled`. */
  readonly stallAfterBytes?: number;
  /** Sent in place of the body, of which it must have the length. */
  readonly content?: string;
}

export class FaultyProxy {
  readonly requests: ProxiedRequest[] = [];
  /** Connections end before anything is read from them. */
  isDown = false;
  readonly #target: URL;
  readonly #server: Server;
  readonly #faults: Fault[] = [];
  readonly #stalled = new Set<ServerResponse>();

  private constructor(target: string) {
    this.#target = new URL(target);
    this.#server = createServer((incoming, outgoing) => this.#pass(incoming, outgoing));
  }

  static async start(target: string): Promise<FaultyProxy> {
    const proxy = new FaultyProxy(target);
    await new Promise<void>((resolve) => proxy.#server.listen(0, '127.0.0.1', resolve));
    return proxy;
  }

  get endpoint(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  /** Requests as `METHOD path`, for comparing. */
  get seen(): readonly string[] {
    return this.requests.map(({ method, path }) => `${method} ${path}`);
  }

  /** The next `times` requests whose `METHOD path` matches. */
  fail(on: RegExp, how: Omit<Fault, 'on' | 'left'>, times = 1): void {
    this.#faults.push({ on, left: times, ...how });
  }

  cutStalled(): void {
    for (const response of this.#stalled) response.destroy();
    this.#stalled.clear();
  }

  async stop(): Promise<void> {
    this.cutStalled();
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  #pass(incoming: IncomingMessage, outgoing: ServerResponse): void {
    if (this.isDown) {
      incoming.socket.destroy();
      return;
    }
    const { method = '', url: path = '', headers } = incoming;
    this.requests.push({ method, path, headers });
    const fault = this.#faults.find(({ on, left }) => left > 0 && on.test(`${method} ${path}`));
    if (fault !== undefined) fault.left--;
    if (fault?.status !== undefined) outgoing.writeHead(fault.status, fault.headers).end();
    else this.#forward(incoming, outgoing, fault);
  }

  /** Header by header as they came: signatures cover the host and the path as the client wrote them. */
  #forward(incoming: IncomingMessage, outgoing: ServerResponse, fault: Fault | undefined): void {
    const { hostname, port } = this.#target;
    const { method, url: path, rawHeaders } = incoming;
    const passed = request({ hostname, port, method, path, headers: rawHeaders, agent: false }, (answer) => {
      outgoing.writeHead(answer.statusCode ?? 502, answer.rawHeaders);
      answer.on('error', () => outgoing.destroy());
      if (fault?.stallAfterBytes !== undefined) this.#stall(answer, outgoing, fault.stallAfterBytes);
      else if (fault?.content !== undefined) answer.resume().on('end', () => outgoing.end(fault.content));
      else answer.pipe(outgoing);
    });
    // Swift ends the body that a HEAD's answer does not have; what comes after a whole answer is nobody's.
    passed.on('error', () => {
      if (!outgoing.headersSent) outgoing.destroy();
    });
    outgoing.on('close', () => passed.destroy());
    incoming.pipe(passed);
  }

  #stall(answer: IncomingMessage, outgoing: ServerResponse, afterBytes: number): void {
    let leftBytes = afterBytes;
    answer.on('data', (chunk: Buffer) => {
      if (leftBytes > 0) outgoing.write(chunk.subarray(0, leftBytes));
      leftBytes = Math.max(0, leftBytes - chunk.length);
    });
    this.#stalled.add(outgoing);
  }
}
