/**
 * Finds where tokens lie in the original text. The words of a tokenizer are normalised (case, accents, markers for
 * spaces), so they are aligned with the text character by character, tolerating what normalisers change; the result is
 * always in order and inside the text. Knows nothing about vocabularies.
 */

export interface AlignedToken {
  readonly id: number;
  /** The bytes of the unit's text that the token stands for; `undefined` if the token does not tell (unknown). */
  readonly bytes: Uint8Array | undefined;
}

/** A word in the tokenizer's own spelling, with its tokens. */
export interface AlignedUnit {
  readonly text: string;
  readonly tokens: readonly AlignedToken[];
}

/** A stretch [start, stop) of the text, in UTF-16 offsets, with the words that it became. */
export interface AlignedSection {
  readonly start: number;
  readonly stop: number;
  /** The one token that covers the whole stretch, if it was cut out as such. */
  readonly wholeId: number | undefined;
  readonly units: readonly AlignedUnit[];
}

export interface PlacedToken {
  readonly id: number;
  /** Code points, end exclusive. */
  readonly start: number;
  readonly stop: number;
}

interface Range {
  readonly start: number;
  readonly stop: number;
}

/** A character in the form in which text and words are compared; normalisers may turn one character into several. */
interface Folded {
  readonly char: string;
  readonly index: number;
}

export function alignTokens(text: string, sections: readonly AlignedSection[], trims: boolean): PlacedToken[] {
  const placed: PlacedToken[] = [];
  let offset = 0;
  for (const { start, stop, wholeId, units } of sections) {
    const source = Array.from(text.slice(start, stop));
    const tokens = wholeId === undefined ? placeUnits(source, units) : [{ id: wholeId, start: 0, stop: source.length }];
    for (const token of tokens) {
      const range = trims ? trimmed(source, token) : token;
      placed.push({ id: token.id, start: offset + range.start, stop: offset + range.stop });
    }
    offset += source.length;
  }
  return placed;
}

function placeUnits(source: readonly string[], units: readonly AlignedUnit[]): PlacedToken[] {
  const ranges = alignChars(
    source,
    units.flatMap((unit) => Array.from(unit.text)),
  );
  const placed: PlacedToken[] = [];
  let first = 0;
  for (const unit of units) {
    for (const { id, start, stop } of placeInUnit(unit)) {
      const covered = ranges.slice(first + start, first + stop);
      const from = covered[0]?.start ?? placed.at(-1)?.stop ?? 0;
      placed.push({ id, start: from, stop: Math.max(from, covered.at(-1)?.stop ?? from) });
    }
    first += Array.from(unit.text).length;
  }
  return placed;
}

/** Each token's range of code points in the unit's own text; tokens that share a character both cover it. */
function placeInUnit(unit: AlignedUnit): PlacedToken[] {
  const bytes = Buffer.from(unit.text, 'utf8');
  const charAt = charIndexOfBytes(bytes);
  let byte = 0;
  return unit.tokens.map(({ id, bytes: own }, index) => {
    const from = Math.min(byte, bytes.length);
    byte = own === undefined ? endOfUnknown(bytes, from, unit.tokens[index + 1]) : from + own.length;
    const to = Math.min(byte, bytes.length);
    const start = charAt[from] ?? 0;
    return { id, start, stop: to > from ? (charAt[to - 1] ?? start) + 1 : start };
  });
}

/** An unknown token reaches to the next token that can be found, or is one character before another unknown one. */
function endOfUnknown(bytes: Buffer, from: number, next: AlignedToken | undefined): number {
  if (next === undefined) return bytes.length;
  const first = from + utf8Len(bytes[from] ?? 0);
  if (next.bytes === undefined) return first;
  const found = bytes.indexOf(next.bytes, first);
  return found < 0 ? first : found;
}

function charIndexOfBytes(bytes: Buffer): number[] {
  let index = -1;
  return [...Array.from(bytes, (byte) => ((byte & 0xc0) === 0x80 ? index : (index += 1))), index + 1];
}

function utf8Len(lead: number): number {
  return lead < 0xc0 ? 1 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
}

/** For every character of the words the range of source characters that it came from. */
function alignChars(source: readonly string[], word: readonly string[]): Range[] {
  const from = folded(source);
  const to = folded(word);
  const ranges: (Range | undefined)[] = [];
  // Markers before the first word come first, also where the text begins with spaces of its own.
  let inserted = leadingSpaceCount(to) - leadingSpaceCount(from);
  for (let i = 0, j = 0; j < to.length;) {
    const here = from[i];
    const there = to[j];
    if (here === undefined || there === undefined) break;
    const same = here.char === there.char && inserted <= 0;
    if (same || there.char === ' ') {
      // A marker that normalisation put in shares the character that follows it.
      ranges[there.index] = { start: ranges[there.index]?.start ?? here.index, stop: here.index + 1 };
      if (same) i += 1;
      else inserted -= 1;
      j += 1;
    } else if (DROPPABLE.test(here.char)) i += 1;
    else [i, j] = resume(from, to, i, j);
  }
  return filled(ranges, word.length);
}

/** What normalisers leave out: spaces, accents, control characters. */
const DROPPABLE = /[\p{White_Space}\p{M}\p{C}\ufffd]/u;

function leadingSpaceCount(chars: readonly Folded[]): number {
  const first = chars.findIndex(({ char }) => char !== ' ');
  return first < 0 ? chars.length : first;
}

/** How far apart text and word may drift at one place before their characters are simply paired. */
const MAX_DRIFT = 24;

/** The nearest pair of positions where both agree again. */
function resume(from: readonly Folded[], to: readonly Folded[], i: number, j: number): [number, number] {
  for (let drift = 1; drift <= MAX_DRIFT; drift++) {
    for (let inserted = 0; inserted <= drift; inserted++) {
      const next: [number, number] = [i + drift - inserted, j + inserted];
      if (agree(from, to, next[0], next[1])) return next;
    }
  }
  return [i + 1, j + 1];
}

function agree(from: readonly Folded[], to: readonly Folded[], i: number, j: number): boolean {
  for (let ahead = 0; ahead < 2; ahead++) {
    const here = from[i + ahead];
    const there = to[j + ahead];
    if (here === undefined || there === undefined) return here === there || ahead > 0;
    if (here.char !== there.char) return false;
  }
  return true;
}

/** Characters that matched nothing lie, empty, where the one before them ends. */
function filled(ranges: readonly (Range | undefined)[], length: number): Range[] {
  let end = 0;
  return Array.from({ length }, (_, index) => {
    const range = ranges[index] ?? { start: end, stop: end };
    end = range.stop;
    return range;
  });
}

function folded(chars: readonly string[]): Folded[] {
  return chars.flatMap((char, index) => Array.from(fold(char), (part) => ({ char: part, index })));
}

function fold(char: string): string {
  if (char === '▁' || /\p{White_Space}/u.test(char)) return ' ';
  return char.normalize('NFKD').toLowerCase();
}

/** Spaces only: the reference looks at the byte alphabet's spelling, in which line ends and tabs are no white space. */
function trimmed(source: readonly string[], { start, stop }: Range): Range {
  let from = start;
  let to = stop;
  while (from < to && source[from] === ' ') from += 1;
  while (to > from && source[to - 1] === ' ') to -= 1;
  return { start: from, stop: to };
}
