/**
 * The tokenizers that adapters brought, each held once however many adapters share it, and all together within a bound.
 * Knows no folder, no template and no request.
 */
import { LoraxError } from '../base/errors.ts';
import { countHandle } from '../base/handles.ts';
import type { CodecSource } from './codec-source.ts';
import type { CodecDescription } from './text-job.ts';
import { TokenDecoder } from './token-decoder.ts';

/** Held by the server itself, compressed sources and tables of pieces; a usual one has 3 to 8 MB. */
const MAX_HELD_BYTES = 1 << 30;

export interface OwnCodec {
  readonly source: CodecSource;
  readonly decoder: TokenDecoder;
  readonly eosTokenIds: readonly number[];
}

export interface CodecHold {
  readonly codec: OwnCodec;
  /** Idempotent. */
  release(): void;
}

interface Entry {
  readonly codec: Promise<OwnCodec>;
  holdCount: number;
  heldBytes: number;
}

export class OwnCodecs {
  readonly #entries = new Map<string, Entry>();
  readonly #maxHeldBytes: number;
  #heldBytes = 0;

  constructor(maxHeldBytes: number = MAX_HELD_BYTES) {
    this.#maxHeldBytes = maxHeldBytes;
  }

  get count(): number {
    return this.#entries.size;
  }

  /** `describe` reads the source in a worker; it runs once per content. Rejects with OUT_OF_MEMORY where all is taken. */
  async hold(source: CodecSource, describe: () => Promise<CodecDescription>): Promise<CodecHold> {
    const entry = this.#entries.get(source.key) ?? this.#add(source, describe);
    entry.holdCount++;
    let isHeld = true;
    const release = (): void => {
      if (isHeld) this.#release(source.key, entry);
      isHeld = false;
    };
    try {
      return { codec: await entry.codec, release };
    } catch (error) {
      release();
      throw error;
    }
  }

  #add(source: CodecSource, describe: () => Promise<CodecDescription>): Entry {
    const heldBytes = source.tokenizerGzip.length;
    if (this.#heldBytes + heldBytes > this.#maxHeldBytes) throw outOfMemory();
    const codec = describe().then(({ table, eosTokenId }) => {
      this.#grow(entry, 2 * table.pieces.length + table.ends.byteLength);
      const eosTokenIds = eosTokenId === undefined ? [] : [eosTokenId];
      return { source, decoder: new TokenDecoder(table), eosTokenIds };
    });
    const entry: Entry = { codec, holdCount: 0, heldBytes: 0 };
    this.#grow(entry, heldBytes);
    this.#entries.set(source.key, entry);
    countHandle('tokenizer', 1);
    return entry;
  }

  #grow(entry: Entry, bytes: number): void {
    if (this.#heldBytes + bytes > this.#maxHeldBytes) throw outOfMemory();
    entry.heldBytes += bytes;
    this.#heldBytes += bytes;
  }

  #release(key: string, entry: Entry): void {
    if (--entry.holdCount > 0) return;
    this.#entries.delete(key);
    this.#heldBytes -= entry.heldBytes;
    countHandle('tokenizer', -1);
  }
}

function outOfMemory(): LoraxError {
  return new LoraxError('OUT_OF_MEMORY', { what: 'another tokenizer of an adapter' });
}
