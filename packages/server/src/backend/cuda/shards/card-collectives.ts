/** Meetings of shards that have a card each: through each other's memory where that is faster, else through NCCL. */

import type { Collectives, Meeting } from './collectives.ts';
import type { NcclCollectives } from './nccl-collectives.ts';
import type { PeerExchange } from './peer-exchange.ts';

export class CardCollectives implements Collectives {
  /** Those that are finished are of few rows, which go through memory. */
  readonly finishesSums = true;
  readonly #peers: PeerExchange;
  readonly #nccl: NcclCollectives;

  constructor(peers: PeerExchange, nccl: NcclCollectives) {
    this.#peers = peers;
    this.#nccl = nccl;
  }

  hold(meetings: readonly Meeting[]): void {
    if (!this.#peers.hold(meetings)) this.#nccl.hold(meetings);
  }
}
