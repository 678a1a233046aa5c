/** How far answers may be from the reference's, and how far they are. Pure. */

import { isDeepStrictEqual } from 'node:util';
import type { PromptVector } from './vectors.ts';

/** The result of a check; one without a fault passes. */
export interface Outcome {
  /** Relative to the largest expected logit; 0 or infinity where only equality counts. */
  readonly error: number;
  readonly fault?: string;
}

/** An engine's answer to a prompt: logits `[vocab]` of every token it computed, and the tokens it chose. */
export interface Answer {
  readonly rows: readonly Float32Array[];
  readonly tokens: readonly number[];
}

/** Rows of logits agree where no element is further off than `tolerance` times the largest expected one. */
export function compareRows(
  expected: readonly Float32Array[],
  actual: readonly Float32Array[],
  tolerance: number,
): Outcome {
  if (expected.length !== actual.length) return differs(`${actual.length} rows of logits, not ${expected.length}`);
  const peak = peakOf(expected);
  let worst: Outcome = { error: 0 };
  for (const [row, logits] of expected.entries()) {
    const other = actual[row]!;
    if (other.length !== logits.length) return differs(`${other.length} logits in a row, not ${logits.length}`);
    const { column, distance } = furthest(logits, other);
    const error = distance / peak;
    if (!(error > worst.error)) continue;
    const place = `row ${row}, token ${column}: ${other[column]}, expected ${logits[column]}`;
    worst = error <= tolerance ? { error } : { error, fault: `${place}, off by ${shown(error)}` };
  }
  return worst;
}

/**
 * Greedy tokens agree up to a first difference at a step whose recorded margin is below `tolerance` times the largest
 * logit: there either token is right, and what follows has another history. Until then the margins must agree too; a
 * margin is the difference of two logits, each of which may be off by the tolerance.
 */
export function compareGreedy(expected: PromptVector, { rows, tokens }: Answer, tolerance: number): Outcome {
  const { greedy, margin, prompt, logits } = expected;
  const peak = peakOf(logits);
  let error = 0;
  for (const [step, token] of greedy.entries()) {
    if (tokens[step] !== token) {
      if (margin[step]! < tolerance * peak) break;
      return differs(`step ${step}: token ${tokens[step]}, expected ${token} with a margin of ${margin[step]}`);
    }
    const own = marginOf(rows[prompt.length - 1 + step]!);
    const off = Math.abs(own - margin[step]!) / (2 * peak);
    error = Math.max(error, off);
    if (!(off <= tolerance)) return { error, fault: `step ${step}: margin ${own}, expected ${margin[step]}` };
  }
  return { error };
}

/** For values that have no tolerance. */
export function compareEqual(expected: unknown, actual: unknown): Outcome {
  if (isDeepStrictEqual(expected, actual)) return { error: 0 };
  return differs(`${JSON.stringify(actual)}, expected ${JSON.stringify(expected)}`);
}

/** The first faulty outcome, otherwise the one furthest off. */
export function worstOf(outcomes: readonly Outcome[]): Outcome {
  const faulty = outcomes.find(({ fault }) => fault !== undefined);
  return faulty ?? { error: Math.max(0, ...outcomes.map(({ error }) => error)) };
}

/** How many rows of two answers to a prompt have the same tokens before them. */
export function comparableRowCount(promptLen: number, a: Answer, b: Answer): number {
  const differing = a.tokens.findIndex((token, i) => token !== b.tokens[i]);
  const shared = differing < 0 ? a.tokens.length : differing;
  return Math.min(promptLen + shared, a.rows.length);
}

function differs(fault: string): Outcome {
  return { error: Infinity, fault };
}

/** NaN is infinitely far from anything. */
function furthest(expected: Float32Array, actual: Float32Array): { column: number; distance: number } {
  let column = 0;
  let distance = 0;
  for (let i = 0; i < expected.length; i++) {
    const off = Math.abs(expected[i]! - actual[i]!);
    if (off <= distance) continue;
    column = i;
    distance = Number.isNaN(off) ? Infinity : off;
  }
  return { column, distance };
}

function peakOf(rows: readonly Float32Array[]): number {
  return rows.reduce((peak, row) => row.reduce((largest, logit) => Math.max(largest, Math.abs(logit)), peak), 0);
}

function marginOf(row: Float32Array): number {
  const [second, best] = row.toSorted().slice(-2);
  return best! - second!;
}

function shown(error: number): string {
  return error.toExponential(2);
}
