/**
 * Matches an adapter's patterns against module paths. The patterns are a stranger's: those with any operator run in a
 * context of their own under a deadline, since a backtracking expression can take longer than the universe has existed.
 * Knows nothing about what a match means.
 */

import { runInNewContext } from 'node:vm';
import { shown } from '../../weights/file-fault.ts';
import { adapterInvalid } from '../adapter-invalid.ts';
import { javascriptSource } from './python-pattern.ts';

/**
 * - `whole`: the pattern is the path.
 * - `tail`: it is the path, or what follows some dot of it.
 * - `within`: it is a run of the path between dots (a module or any module inside it).
 * - `layer`: it names the list of layers; the number behind it is what is asked for.
 */
export type PatternForm = 'whole' | 'tail' | 'within' | 'layer';

export interface PathPattern {
  /** Field of adapter_config.json, for messages. */
  readonly field: string;
  /** In the syntax of Python's `re`. */
  readonly python: string;
  readonly form: PatternForm;
}

/** Of the path with this index: null where the pattern does not match, else the layer number (`''` in other forms). */
export type PatternMatch = (pathIndex: number) => string | null;

const MAX_PATTERN_LEN = 4096;
/** All patterns of one adapter together; honest ones take about 2 ms, most of it for the context. */
const TIME_LIMIT_MS = 100;
/** A try in which the process hardly had a processor says nothing about the patterns; they are tried again, so often at most. */
const MOST_TRIES = 10;
const LEAST_PROCESSOR_MS = TIME_LIMIT_MS / 2;
/** No operator but the dot: nothing to backtrack over. Nearly all patterns are of this kind. */
const PLAIN = /^[\w.-]+$/;
const DOT = '.'.charCodeAt(0);

/** PEFT's forms; a lone group around the pattern is left out where PEFT leaves it out. */
const FORMS: Readonly<Record<PatternForm, (source: string) => string>> = {
  whole: (source) => `^(?:${source})$`,
  tail: (source) => `^(?:.*\\.)?(?:${source})$`,
  within: (source) => `^(?:(?:^|.*\\.)${source}(?:$|\\..*))`,
  layer: (source) => `^(?:(?:^|.*?\\.)${source}\\.(?<layer>\\d+)\\.)`,
};

/** Answers with JSON, so that no object of the other context is ever touched. */
const SCRIPT = `JSON.stringify(sources.map((source) => {
  try {
    const expression = new RegExp(source, 'u');
    return paths.map((path) => { const match = expression.exec(path); return match && (match.groups?.layer ?? ''); });
  } catch (error) {
    return String(error.message);
  }
}))`;

/** Throws ADAPTER_INVALID for a pattern that cannot be read or takes too long. */
export function matchPaths(
  adapterId: string,
  patterns: readonly PathPattern[],
  paths: readonly string[],
): ReadonlyMap<PathPattern, PatternMatch> {
  const matches = new Map<PathPattern, PatternMatch>();
  const bounded: PathPattern[] = [];
  for (const pattern of patterns) {
    if (pattern.form === 'tail' && PLAIN.test(pattern.python)) matches.set(pattern, plainTail(pattern.python, paths));
    else bounded.push(pattern);
  }
  if (bounded.length === 0) return matches;
  const rows = runBounded(
    adapterId,
    bounded,
    bounded.map((pattern) => compiledSource(adapterId, pattern)),
    paths,
  );
  bounded.forEach((pattern, i) => matches.set(pattern, rowMatch(adapterId, pattern, rows[i])));
  return matches;
}

/** What the expression would say, at a fraction of its price: an adapter can have a pattern for every module. */
function plainTail(python: string, paths: readonly string[]): PatternMatch {
  return (pathIndex) => (endsLike(paths[pathIndex] ?? '', python) ? '' : null);
}

function endsLike(path: string, tail: string): boolean {
  const start = path.length - tail.length;
  if (start < 0 || (start > 0 && path.charCodeAt(start - 1) !== DOT)) return false;
  for (let i = tail.length - 1; i >= 0; i--) {
    const wanted = tail.charCodeAt(i);
    if (wanted !== DOT && wanted !== path.charCodeAt(start + i)) return false;
  }
  return true;
}

function compiledSource(adapterId: string, pattern: PathPattern): string {
  if (pattern.python.length > MAX_PATTERN_LEN) {
    throw refused(adapterId, pattern, `is longer than ${MAX_PATTERN_LEN} characters`);
  }
  try {
    return FORMS[pattern.form](javascriptSource(pattern.python));
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
    throw refused(adapterId, pattern, `cannot be read: ${error.message}`);
  }
}

/** A layer number or null for each path; a text where the pattern failed. */
type Row = string | readonly (string | null)[];

function runBounded(
  adapterId: string,
  patterns: readonly PathPattern[],
  sources: readonly string[],
  paths: readonly string[],
): readonly Row[] {
  for (let tries = 1; tries <= MOST_TRIES; tries++) {
    const begun = process.cpuUsage();
    try {
      const rows = runInNewContext(SCRIPT, { sources, paths }, { timeout: TIME_LIMIT_MS }) as string;
      return JSON.parse(rows) as readonly Row[];
    } catch (error) {
      if (!isTimeout(error)) throw error;
    }
    const { user, system } = process.cpuUsage(begun);
    if (user + system >= LEAST_PROCESSOR_MS * 1000) break;
  }
  const fields = [...new Set(patterns.map(({ field }) => `"${field}"`))].join(', ');
  throw adapterInvalid(adapterId, `adapter_config.json: the regular expressions of ${fields} take too long to match`);
}

function isTimeout(error: unknown): boolean {
  return (
    typeof error === 'object' && error !== null && 'code' in error && error.code === 'ERR_SCRIPT_EXECUTION_TIMEOUT'
  );
}

function rowMatch(adapterId: string, pattern: PathPattern, row: Row | undefined): PatternMatch {
  if (typeof row === 'string') throw refused(adapterId, pattern, `cannot be read: ${row}`);
  return (pathIndex) => row?.[pathIndex] ?? null;
}

function refused(adapterId: string, { field, python }: PathPattern, reason: string): Error {
  return adapterInvalid(adapterId, `adapter_config.json: "${field}": the pattern ${shown(python)} ${reason}`);
}
