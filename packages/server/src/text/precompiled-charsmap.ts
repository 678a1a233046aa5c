/**
 * SentencePiece's precompiled normalisation tables: a double-array trie from UTF-8 bytes to replacement texts, in the
 * layout of the Darts library (https://github.com/s-yata/darts-clone). Knows nothing about tokens.
 */

/** Graphemes of this many bytes or more are replaced character by character only. */
const MAX_GRAPHEME_BYTES = 6;

/** `charsmap` is base64: the trie's size in bytes, the trie's 32-bit units, the replacements, each ended by a zero. */
export function precompiledNormalizer(charsmap: string): (text: string) => string {
  const bytes = Buffer.from(charsmap, 'base64');
  const trieBytes = bytes.length >= 4 ? bytes.readUInt32LE(0) : -1;
  if (trieBytes < 4 || trieBytes % 4 !== 0 || 4 + trieBytes > bytes.length) {
    throw new Error('normalizer.precompiled_charsmap is damaged');
  }
  const trie = Uint32Array.from({ length: trieBytes / 4 }, (_, unit) => bytes.readUInt32LE(4 + 4 * unit));
  const texts = bytes.subarray(4 + trieBytes);
  const segmenter = new Intl.Segmenter('en', { granularity: 'grapheme' });
  const replacement = (part: string): string | undefined => {
    const at = firstMatch(trie, Buffer.from(part, 'utf8'));
    return at === undefined ? undefined : texts.toString('utf8', at, endOfText(texts, at));
  };
  return (text) => {
    let result = '';
    for (const { segment } of segmenter.segment(text)) {
      const whole = Buffer.byteLength(segment, 'utf8') < MAX_GRAPHEME_BYTES ? replacement(segment) : undefined;
      if (whole !== undefined) result += whole;
      else for (const char of segment) result += replacement(char) ?? char;
    }
    return result;
  };
}

/** Where the replacement of the shortest beginning of `key` that the trie holds lies, as the reference takes it. */
function firstMatch(trie: Uint32Array, key: Uint8Array): number | undefined {
  let position = offsetOf(trie[0] ?? 0);
  for (const byte of key) {
    position ^= byte;
    const unit = trie[position] ?? 0;
    // The label is compared with its top bit, which marks leaves.
    if (byte === 0 || (unit & 0x8000_00ff) !== byte) return undefined;
    position ^= offsetOf(unit);
    const hasLeaf = ((unit >>> 8) & 1) === 1;
    if (hasLeaf) return (trie[position] ?? 0) & 0x7fff_ffff;
  }
  return undefined;
}

function offsetOf(unit: number): number {
  return (unit >>> 10) << ((unit & 0x200) >>> 6);
}

function endOfText(texts: Uint8Array, from: number): number {
  const end = texts.indexOf(0, from);
  return end < 0 ? texts.length : end;
}
