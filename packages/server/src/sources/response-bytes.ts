/** The body of an answer, chunk by chunk. A connection that breaks is a `HubFault`; other errors are none of the network's. */

import { networkFault } from './hub-fault.ts';

export async function* bytesOf(response: Response): AsyncGenerator<Uint8Array, void, undefined> {
  if (response.body === null) return;
  try {
    yield* response.body;
  } catch (error) {
    throw networkFault(error);
  }
}
