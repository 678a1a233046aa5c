/**
 * Parses JSON objects that come from outside: UTF-8 without excuses and no key twice, since readers of duplicate keys
 * disagree on which one counts. Knows nothing about the meaning.
 */
import { assert } from '../base/assert.ts';

/** Own enumerable properties only: `__proto__` is a key like any other. */
export type JsonObject = Readonly<Record<string, unknown>>;

/** Throws a `SyntaxError` or `TypeError` whose message may quote the text: keep it as a cause only. */
export function parseJsonObject(bytes: Uint8Array): JsonObject {
  const text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  const value: unknown = JSON.parse(text);
  if (!isJsonObject(value)) throw new SyntaxError('not a JSON object');
  refuseDuplicateKeys(text);
  return value;
}

export function isJsonObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function refuseDuplicateKeys(validJson: string): void {
  // One entry per open bracket; arrays hold no keys. No regular expression: a string of megabytes overflows its stack.
  const open: (Set<string> | undefined)[] = [];
  let lastString = '';
  for (let at = 0; at < validJson.length; at++) {
    const mark = validJson[at];
    if (mark === '{') open.push(new Set());
    else if (mark === '[') open.push(undefined);
    else if (mark === '}' || mark === ']') open.pop();
    else if (mark === ':') addKey(open.at(-1), lastString);
    else if (mark === '"') {
      const end = endOfString(validJson, at);
      lastString = validJson.slice(at, end);
      at = end - 1;
    }
  }
}

/** The position after the closing quote of the string that opens at `start`. */
function endOfString(validJson: string, start: number): number {
  let at = start + 1;
  while (validJson[at] !== '"') at += validJson[at] === '\\' ? 2 : 1;
  return at + 1;
}

function addKey(keys: Set<string> | undefined, quoted: string): void {
  assert(keys !== undefined, 'a colon of valid JSON stands in an object');
  // Two spellings of one key differ in their escapes only.
  const key: unknown = quoted.includes('\\') ? JSON.parse(quoted) : quoted.slice(1, -1);
  assert(typeof key === 'string', 'a key of valid JSON is a string');
  if (keys.has(key)) throw new SyntaxError('an object has a key twice');
  keys.add(key);
}
