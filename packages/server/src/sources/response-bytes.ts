/** The body of an answer: read chunk by chunk, or not at all. A connection that breaks is a `SourceFault`; other errors are none of the network's. */

import { networkFault } from './source-fault.ts';

export async function* bytesOf(response: Response, peer: string): AsyncGenerator<Uint8Array, void, undefined> {
  if (response.body === null) return;
  try {
    yield* response.body;
  } catch (error) {
    throw networkFault(error, peer);
  }
}

/** Gives the connection back without reading the rest. That it may break meanwhile makes no difference. */
export async function discard(response: Response): Promise<void> {
  await response.body?.cancel().catch(() => undefined);
}
