/** The body of an answer: read chunk by chunk, or not at all. A connection that breaks is a `SourceFault`; other errors are none of the network's. */

import { SourceFault, networkFault } from './source-fault.ts';

export async function* bytesOf(response: Response, peer: string): AsyncGenerator<Uint8Array, void, undefined> {
  if (response.body === null) return;
  try {
    yield* response.body;
  } catch (error) {
    throw networkFault(error, peer);
  }
}

/** The whole body as text. Rejects with a broken `SourceFault` where it is longer than what it can mean. */
export async function textOf(response: Response, limitBytes: number, peer: string): Promise<string> {
  const chunks: Uint8Array[] = [];
  let totalBytes = 0;
  for await (const chunk of bytesOf(response, peer)) {
    totalBytes += chunk.byteLength;
    if (totalBytes > limitBytes) throw new SourceFault('broken', `the answer of ${peer} is too large`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}

/** Gives the connection back without reading the rest. That it may break meanwhile makes no difference. */
export async function discard(response: Response): Promise<void> {
  await response.body?.cancel().catch(() => undefined);
}
