/** Listens on a socket and answers with an application; stops without cutting off an answer. Knows no route. */

import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { getRequestListener } from '@hono/node-server';
import { LoraxError } from '../base/errors.ts';
import { nativeError } from './errors.ts';

/** How long a stream that is under way may go on after `close`. */
const DRAIN_MS = 30_000;

export interface ListenOptions {
  readonly hostname: string;
  /** 0 takes a free one. */
  readonly port: number;
  readonly drainMs?: number;
}

export interface RunningServer {
  readonly port: number;
  /** Takes no new request, lets the ones in hand end (for `drainMs` at most), then closes every connection. */
  readonly close: () => Promise<void>;
}

interface Application {
  fetch(request: Request): Response | Promise<Response>;
}

/** Rejects with the system's error (`EADDRINUSE` and the like) where the address cannot be listened on. */
export async function listen(
  app: Application,
  { hostname, port, drainMs = DRAIN_MS }: ListenOptions,
): Promise<RunningServer> {
  // Replacing the global Request and Response, which is the default, would change them for everything in the process.
  const answer = getRequestListener((request) => app.fetch(request), {
    hostname,
    overrideGlobalObjects: false,
    errorHandler: malformed,
  });
  const requests = new OpenRequests();
  const server = createServer((incoming, outgoing) => {
    requests.open();
    outgoing.once('close', () => requests.close());
    void answer(incoming, outgoing);
  });
  await bound(server, hostname, port);
  return {
    port: (server.address() as AddressInfo).port,
    close: () => drain(server, requests, drainMs),
  };
}

/** What fails before the application has the request: a request line or a Host header that is no URL. */
function malformed(): Response {
  return Response.json(nativeError(new LoraxError('REQUEST_MALFORMED')), { status: 400 });
}

function bound(server: Server, hostname: string, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, hostname, () => {
      server.off('error', reject);
      resolve();
    });
  });
}

async function drain(server: Server, requests: OpenRequests, drainMs: number): Promise<void> {
  const closed = new Promise<void>((resolve) => server.close(() => resolve()));
  const deadline = setTimeout(() => server.closeAllConnections(), drainMs);
  await Promise.race([requests.none(), closed]);
  server.closeAllConnections(); // what is left are idle connections that clients keep for their next request
  clearTimeout(deadline);
  await closed;
}

class OpenRequests {
  #count = 0;
  #onNone: (() => void) | undefined;

  open(): void {
    this.#count++;
  }

  close(): void {
    if (--this.#count === 0) this.#onNone?.();
  }

  none(): Promise<void> {
    return new Promise((resolve) => {
      this.#onNone = resolve;
      if (this.#count === 0) resolve();
    });
  }
}
