/**
 * Writes events as server-sent events: `data: <json>` and a blank line, a comment after a silence, an error as the last
 * event. Waits for the client to take what was written. Knows no event's meaning.
 */

import { stream } from 'hono/streaming';
import type { LoraxError } from '../base/errors.ts';
import type { Call } from './call.ts';
import { asLoraxError, logError } from './errors.ts';

export interface SseFormat {
  error(error: LoraxError): unknown;
  /** Sent as it is after the last event. */
  readonly terminator?: string;
}

/** `events` must have been primed: what fails from here on can no longer change the status. */
export function sse(call: Call, events: AsyncIterable<unknown>, format: SseFormat): Response {
  const { c, api } = call;
  c.header('content-type', 'text/event-stream');
  c.header('cache-control', 'no-cache');
  c.header('x-accel-buffering', 'no');
  return stream(c, async (out) => {
    out.onAbort(() => call.drop());
    const keepAlive = setInterval(() => void out.write(':\n\n'), api.keepAliveMs);
    try {
      for await (const event of events) {
        if (call.signal.aborted) return;
        keepAlive.refresh();
        await out.write(line(JSON.stringify(event)));
      }
      if (format.terminator !== undefined) await out.write(line(format.terminator));
      call.succeed();
    } catch (thrown) {
      if (call.signal.aborted) return;
      call.fail(thrown);
      const error = asLoraxError(thrown);
      logError(error, api.log, c.req.path);
      await out.write(line(JSON.stringify(format.error(error))));
    } finally {
      clearInterval(keepAlive);
    }
  });
}

function line(data: string): string {
  return `data: ${data}\n\n`;
}
