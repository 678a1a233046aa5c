/** The codecs that one worker has open, the last used ones. Knows nothing about jobs. */
import { LRUCache } from 'lru-cache';
import { type CodecRef, unpackTokenizer } from './codec-source.ts';
import { openCodec, type TextCodec } from './text-codec.ts';
import { parseTokenizer } from './tokenizer-files.ts';

/** Of tokenizer.json, whose codec takes some ten times as much. */
const MAX_SOURCE_BYTES = 96 << 20;

export interface OpenCodec {
  readonly codec: TextCodec;
  readonly eosTokenId: number | undefined;
}

export class CodecCache {
  readonly #open = new LRUCache<string, OpenCodec>({ maxSize: MAX_SOURCE_BYTES });

  /** Throws `CodecMissing` where it would need the source, and a `TextFileError` where that makes no codec. */
  open({ key, source }: CodecRef): OpenCodec {
    const known = this.#open.get(key);
    if (known !== undefined) return known;
    if (source === undefined) throw new CodecMissing();
    const { config, maxVocabSize, tokenizerBytes } = source;
    const codec = openCodec({ tokenizer: parseTokenizer(unpackTokenizer(source)), config }, maxVocabSize);
    const opened = { codec, eosTokenId: codec.idOf(config.eos_token ?? '') };
    this.#open.set(key, opened, { size: Math.max(1, tokenizerBytes) });
    return opened;
  }
}

export class CodecMissing extends Error {}
