/**
 * Rewrites a regular expression in the syntax of Python's `re` as a JavaScript one (flag `u`) of the same meaning.
 * Runs nothing: how long such an expression may take is path-patterns.ts's matter.
 */

interface Piece {
  /** In JavaScript's syntax. */
  readonly source: string;
  /** Characters of the Python pattern that it stands for. */
  readonly len: number;
}

/** Escapes that mean the same in both languages, for the ASCII text that module paths are. */
const COMMON_ESCAPES = new Set('dDwWsSbnrtfvxu');
const OUTSIDE_CLASS_ESCAPES: Readonly<Record<string, string>> = { A: '^', Z: '$', B: '\\B' };
const JS_SYNTAX = new Set('^$\\.*+?()[]{}|/');
const GROUP_OPENING = /\((?:\?(?:[:=!]|<[=!]|P<[A-Za-z_]\w*>)|(?!\?))/y;
const REPEAT_COUNT = /\{(\d*)(?:(,)(\d*))?\}/y;

/** Throws a SyntaxError that names the unsupported construct. What JavaScript refuses by itself fails when compiled. */
export function javascriptSource(python: string): string {
  let source = '';
  for (let at = 0; at < python.length;) {
    const piece = pieceAt(python, at);
    source += piece.source;
    at += piece.len;
  }
  return source;
}

function pieceAt(python: string, at: number): Piece {
  const char = python.charAt(at);
  if (char === '\\') return escapeAt(python, at);
  if (char === '[') return classAt(python, at);
  if (char === '(') return groupAt(python, at);
  if (char === '{') return repeatAt(python, at);
  // Literals in Python, errors in JavaScript.
  if (char === '}' || char === ']') return { source: `\\${char}`, len: 1 };
  return { source: char, len: 1 };
}

function escapeAt(python: string, at: number, inClass = false): Piece {
  const char = python.charAt(at + 1);
  if (char === '') throw new SyntaxError('it ends in a lone backslash');
  const ownMeaning = inClass ? undefined : OUTSIDE_CLASS_ESCAPES[char];
  if (ownMeaning !== undefined) return { source: ownMeaning, len: 2 };
  if (COMMON_ESCAPES.has(char)) return { source: `\\${char}`, len: 2 };
  if (/[0-9]/.test(char)) throw new SyntaxError(`back-references such as \\${char} are not supported`);
  if (/[A-Za-z]/.test(char)) throw new SyntaxError(`the escape \\${char} is not supported`);
  // Python lets any other character be escaped, JavaScript only those with a meaning.
  const needsEscape = JS_SYNTAX.has(char) || (inClass && char === '-');
  return { source: needsEscape ? `\\${char}` : char, len: 2 };
}

function classAt(python: string, start: number): Piece {
  const negated = python.charAt(start + 1) === '^';
  let at = start + (negated ? 2 : 1);
  let source = negated ? '[^' : '[';
  const first = at;
  while (at < python.length) {
    const char = python.charAt(at);
    if (char === ']' && at > first) return { source: `${source}]`, len: at + 1 - start };
    // A bracket in first place is a literal in Python and would close the class in JavaScript.
    const piece = char === '\\' ? escapeAt(python, at, true) : { source: char === ']' ? '\\]' : char, len: 1 };
    source += piece.source;
    at += piece.len;
  }
  throw new SyntaxError('a character class is not closed');
}

function groupAt(python: string, at: number): Piece {
  GROUP_OPENING.lastIndex = at;
  const opening = GROUP_OPENING.exec(python)?.[0];
  if (opening === undefined) {
    throw new SyntaxError(`the group ${python.slice(at, at + 4)}… is not supported (inline flags and others)`);
  }
  return { source: opening.replace('(?P<', '(?<'), len: opening.length };
}

function repeatAt(python: string, at: number): Piece {
  REPEAT_COUNT.lastIndex = at;
  const [whole, least = '', comma = '', most = ''] = REPEAT_COUNT.exec(python) ?? [];
  // Braces that are no repeat count stand for themselves in Python.
  if (whole === undefined || whole === '{}') return { source: '\\{', len: 1 };
  return { source: `{${least || '0'}${comma}${most}}`, len: whole.length };
}
