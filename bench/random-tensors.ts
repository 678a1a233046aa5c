/** Tensors of random values, made chunk by chunk. Zero-mean, about 0.018 in size, which keeps activations of any depth finite. */

import { DTYPE_BYTES, elementCount, type Dtype } from '#server/weights/tensor-view.ts';
import type { TensorToWrite } from '#server/weights/safetensors-writer.ts';

/** 4 MiB. */
const CHUNK_WORDS = 1 << 20;

/** Which bits of a 32-bit word are random, and which are set: magnitudes from 2^-7 to 2^-5, one or two values a word. */
const VALUE_BITS: Readonly<Record<Dtype, { readonly random: number; readonly fixed: number }>> = {
  bfloat16: { random: 0x80ff80ff, fixed: 0x3c003c00 },
  float16: { random: 0x87ff87ff, fixed: 0x20002000 },
  float32: { random: 0x80ffffff, fixed: 0x3c000000 },
};

const ONE: Readonly<Record<Dtype, number>> = { bfloat16: 0x3f803f80, float16: 0x3c003c00, float32: 0x3f800000 };

/** Xorshift (Marsaglia 2003): 32 bits a call, any seed but 0. */
export class RandomWords {
  #state: number;

  constructor(seed: number) {
    this.#state = seed;
  }

  write(words: Uint32Array, random: number, fixed: number): void {
    let x = this.#state;
    for (let i = 0; i < words.length; i++) {
      x ^= x << 13;
      x ^= x >>> 17;
      x ^= x << 5;
      words[i] = (x & random) | fixed;
    }
    this.#state = x;
  }
}

/** The same words again and again: written as fast as memory is copied, for files whose values are of no interest. */
export class RepeatedWords extends RandomWords {
  readonly #made = new Map<string, Uint32Array>();

  override write(words: Uint32Array, random: number, fixed: number): void {
    const key = `${random} ${fixed}`;
    const made = this.#made.get(key) ?? this.#make(random, fixed);
    this.#made.set(key, made);
    words.set(made.subarray(0, words.length));
  }

  #make(random: number, fixed: number): Uint32Array {
    const words = new Uint32Array(CHUNK_WORDS);
    super.write(words, random, fixed);
    return words;
  }
}

export function randomTensor(words: RandomWords, name: string, dtype: Dtype, shape: readonly number[]): TensorToWrite {
  const byteLength = elementCount(shape) * DTYPE_BYTES[dtype];
  return { name, dtype, shape, bytes: () => randomChunks(words, VALUE_BITS[dtype], byteLength) };
}

export function onesTensor(name: string, dtype: Dtype, length: number): TensorToWrite {
  const words = new Uint32Array(Math.ceil((length * DTYPE_BYTES[dtype]) / 4)).fill(ONE[dtype]);
  return { name, dtype, shape: [length], bytes: new Uint8Array(words.buffer, 0, length * DTYPE_BYTES[dtype]) };
}

/** Every chunk is the same memory: it is written before the next is made. */
function* randomChunks(
  words: RandomWords,
  { random, fixed }: { readonly random: number; readonly fixed: number },
  byteLength: number,
): Generator<Uint8Array, void, undefined> {
  const chunk = new Uint32Array(Math.min(CHUNK_WORDS, Math.ceil(byteLength / 4)));
  for (let left = byteLength; left > 0; left -= chunk.byteLength) {
    words.write(chunk, random, fixed);
    yield new Uint8Array(chunk.buffer, 0, Math.min(left, chunk.byteLength));
  }
}
