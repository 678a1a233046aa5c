/**
 * Tokens that are cut out of a text before anything else looks at it (`</s>`, `<|im_start|>`). Finds them, leftmost and
 * longest first, by the reference's rules for words and white space. Knows nothing about the rest of the vocabulary.
 */

export interface AddedToken {
  readonly id: number;
  readonly content: string;
  /** Matches only where no word character touches it. */
  readonly single_word: boolean;
  /** Takes the white space before (after) it along. */
  readonly lstrip: boolean;
  readonly rstrip: boolean;
  /** Is searched in the normalised text, as normalised itself. */
  readonly normalized: boolean;
  readonly special: boolean;
}

/** A part of the text [start, stop), UTF-16 offsets: an added token, or text between two of them. */
interface TextSection {
  readonly start: number;
  readonly stop: number;
  readonly token: AddedToken | undefined;
}

interface Node {
  readonly next: Map<number, Node>;
  token: AddedToken | undefined;
}

/** The reference's `\w`; the joiners count as parts of words. */
const ENDS_IN_WORD = /[\p{Alphabetic}\p{M}\p{Nd}\p{Pc}\p{Join_Control}]$/u;
const STARTS_WITH_WORD = /^[\p{Alphabetic}\p{M}\p{Nd}\p{Pc}\p{Join_Control}]/u;

export class AddedTokenFinder {
  readonly #root: Node = { next: new Map(), token: undefined };

  /** `spelling` is what the text must hold for the token to match. */
  add(spelling: string, token: AddedToken): void {
    if (spelling === '') return;
    let node = this.#root;
    for (let index = 0; index < spelling.length; index++) {
      const unit = spelling.charCodeAt(index);
      let child = node.next.get(unit);
      if (child === undefined) node.next.set(unit, (child = { next: new Map(), token: undefined }));
      node = child;
    }
    node.token = token;
  }

  /** Sections in order, covering the text; text between tokens is never empty. */
  split(text: string): TextSection[] {
    const sections: TextSection[] = [];
    let done = 0;
    for (let index = 0; index < text.length;) {
      const match = this.#longestAt(text, index);
      if (match === undefined) {
        index += 1;
        continue;
      }
      const { token, stop } = match;
      if (!token.single_word || standsAlone(text, index, stop)) {
        const start = token.lstrip ? Math.max(done, spaceBefore(text, index)) : index;
        const end = token.rstrip ? spaceAfter(text, stop) : stop;
        if (start > done) sections.push({ start: done, stop: start, token: undefined });
        sections.push({ start, stop: end, token });
        done = end;
      }
      index = Math.max(stop, done);
    }
    if (done < text.length) sections.push({ start: done, stop: text.length, token: undefined });
    return sections;
  }

  #longestAt(text: string, start: number): { token: AddedToken; stop: number } | undefined {
    let node = this.#root.next.get(text.charCodeAt(start));
    let found: { token: AddedToken; stop: number } | undefined;
    for (let stop = start + 1; node !== undefined; stop++) {
      if (node.token !== undefined) found = { token: node.token, stop };
      node = node.next.get(text.charCodeAt(stop));
    }
    return found;
  }
}

function standsAlone(text: string, start: number, stop: number): boolean {
  return (
    !ENDS_IN_WORD.test(text.slice(Math.max(0, start - 2), start)) && !STARTS_WITH_WORD.test(text.slice(stop, stop + 2))
  );
}

/** Unicode's white space, which JavaScript's own trimming differs from: it takes U+FEFF and leaves U+0085. */
const WHITE_SPACE = /^\p{White_Space}$/u;

/** Where the white space begins that ends at `index`. */
function spaceBefore(text: string, index: number): number {
  let start = index;
  while (start > 0 && WHITE_SPACE.test(text[start - 1]!)) start--;
  return start;
}

/** Where the white space ends that begins at `index`. */
function spaceAfter(text: string, index: number): number {
  let end = index;
  while (end < text.length && WHITE_SPACE.test(text[end]!)) end++;
  return end;
}
