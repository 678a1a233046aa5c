/**
 * What a codec is made of, in a form that is cheap to hold for as long as it may be needed and to send to a worker.
 * Files may be gone by then. Knows nothing about what the contents mean.
 */
import { createHash } from 'node:crypto';
import { promisify } from 'node:util';
import { gunzipSync, gzip } from 'node:zlib';
import type { TokenizerConfig } from './tokenizer-files.ts';

export interface CodecSource {
  /** Hash of everything here: equal keys make equal codecs. */
  readonly key: string;
  /** tokenizer.json, compressed: some have 30 MB, of which a seventh is left. */
  readonly tokenizerGzip: Uint8Array;
  readonly tokenizerBytes: number;
  readonly config: TokenizerConfig;
  readonly maxVocabSize: number | undefined;
}

/** Names a codec to a worker, which may have it; the source comes along where it has not. */
export interface CodecRef {
  readonly key: string;
  readonly source?: CodecSource;
}

export interface HashedBytes {
  readonly bytes: Uint8Array;
  /** Hexadecimal. */
  readonly sha256: string;
}

const compress = promisify(gzip);

/** `tokenizer` is tokenizer.json with its hash. */
export async function packCodec(
  tokenizer: HashedBytes,
  config: TokenizerConfig,
  maxVocabSize?: number,
): Promise<CodecSource> {
  const rest = JSON.stringify([tokenizer.sha256, config, maxVocabSize]);
  return {
    key: createHash('sha256').update(rest).digest('hex'),
    tokenizerGzip: await compress(tokenizer.bytes, { level: 1 }),
    tokenizerBytes: tokenizer.bytes.length,
    config,
    maxVocabSize,
  };
}

export function unpackTokenizer({ tokenizerGzip, tokenizerBytes }: CodecSource): Uint8Array {
  return gunzipSync(tokenizerGzip, { maxOutputLength: Math.max(1, tokenizerBytes) });
}
