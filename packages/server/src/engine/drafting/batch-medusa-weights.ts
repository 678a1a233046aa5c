/**
 * Runs draft heads over the last rows of several sequences, each with its own, in one draft. LoRAX's names: the rows with
 * one model's heads are a segment of the batch. Knows nothing about what becomes of the guesses.
 */

import type { Backend, DraftGraph, Forward, Value } from '../../backend/backend.ts';
import type { DraftOutput, DraftRow } from '../../backend/step.ts';
import type { MedusaModel } from '../../layers/medusa/medusa-model.ts';
import type { Guess, Guesses } from './guesses.ts';

/** A row that is drafted from, and whose heads do it. */
export interface HeadRow extends DraftRow {
  readonly heads: MedusaModel;
  /** How many of them guess, at least one: the first ones. */
  readonly headCount: number;
}

/** Neighbouring rows with the same heads. */
interface MedusaSegment {
  readonly heads: MedusaModel;
  readonly firstRow: number;
  /** Of each row, how many of the heads guess. */
  readonly counts: readonly number[];
}

export class BatchMedusaWeights {
  /** The given rows so that those with one model's heads are neighbours, and models of version 2 come first. */
  readonly #order: readonly number[];
  readonly #rows: readonly HeadRow[];
  readonly #segments: readonly MedusaSegment[];

  constructor(given: readonly HeadRow[]) {
    const models = [...new Set(given.map(({ heads }) => heads))].sort((a, b) => b.version - a.version);
    const order = given.map((_, i) => i);
    order.sort((a, b) => models.indexOf(given[a]!.heads) - models.indexOf(given[b]!.heads) || a - b);
    this.#order = order;
    this.#rows = order.map((i) => given[i]!);
    this.#segments = findSegments(this.#rows);
  }

  /** For each given row, at the place of each head that guesses the `rankCount` likeliest tokens. */
  async guess(backend: Pick<Backend, 'runDraft'>, model: Forward, rankCount: number): Promise<Guesses[]> {
    const output = await this.#run(backend, model);
    return this.#rowsOf().map((heads) => heads.map((row) => likeliest(output, row, rankCount)));
  }

  /** For each given row and head that guesses its logits, `[rows][heads][vocab]`. */
  async logits(backend: Pick<Backend, 'runDraft'>, model: Forward): Promise<Float32Array[][]> {
    const output = await this.#run(backend, model);
    return this.#rowsOf().map((heads) => heads.map((row) => output.logits(row)));
  }

  #run(backend: Pick<Backend, 'runDraft'>, model: Forward): Promise<DraftOutput> {
    return backend.runDraft((graph, hidden) => this.#forward(graph, hidden, model), this.#rows);
  }

  /** Rows of different heads of version 2 share one product with the base model's output layer. */
  #forward(graph: DraftGraph, hidden: Value, model: Forward): Value {
    const states: Value[] = [];
    const logits: Value[] = [];
    for (const { heads, firstRow, counts } of this.#segments) {
      const x = graph.rows(hidden, firstRow, counts.length);
      if (heads.version === 2) states.push(heads.states(graph, x, counts));
      else logits.push(heads.logits(graph, x, Math.max(...counts)));
    }
    const shared = states.length > 0 ? [model.logits(graph, graph.stack(states))] : [];
    return graph.stack([...shared, ...logits]);
  }

  /** Rows of the output by given row and head. */
  #rowsOf(): number[][] {
    const rows: number[][] = [];
    let first = 0;
    for (const { heads, firstRow, counts } of this.#segments) {
      const { byRow, total } = heads.version === 2 ? rowAfterRow(counts) : headAfterHead(counts);
      for (const [row, own] of byRow.entries()) rows[this.#order[firstRow + row]!] = own.map((at) => first + at);
      first += total;
    }
    return rows;
  }
}

/** Where the heads of each row of a segment are in its output. */
interface HeadPlaces {
  readonly byRow: readonly number[][];
  readonly total: number;
}

function rowAfterRow(counts: readonly number[]): HeadPlaces {
  let total = 0;
  const byRow = counts.map((count) => Array.from({ length: count }, () => total++));
  return { byRow, total };
}

/** As many heads for every row. */
function headAfterHead(counts: readonly number[]): HeadPlaces {
  const byRow = counts.map((count, row) => Array.from({ length: count }, (_, head) => head * counts.length + row));
  return { byRow, total: counts.length * Math.max(...counts) };
}

function findSegments(rows: readonly HeadRow[]): MedusaSegment[] {
  const segments: MedusaSegment[] = [];
  for (const [row, { heads, headCount }] of rows.entries()) {
    const last = segments.at(-1);
    if (last?.heads === heads) segments[segments.length - 1] = { ...last, counts: [...last.counts, headCount] };
    else segments.push({ heads, firstRow: row, counts: [headCount] });
  }
  return segments;
}

function likeliest(output: DraftOutput, row: number, count: number): Guess[] {
  const { id, logprob } = output.best(row);
  if (count === 1) return [{ token: id, confidence: Math.exp(logprob) }];
  const scores = output.logits(row);
  const confidenceOf = (token: number): number => Math.exp(scores[token]! - scores[id]! + logprob);
  return topTokens(scores, count).map((token) => ({ token, confidence: confidenceOf(token) }));
}

/** Ids of the largest scores, the largest first; of equal ones the lowest ids. */
export function topTokens(scores: Float32Array, count: number): number[] {
  const best: number[] = [];
  for (let id = 0; id < scores.length; id++) {
    if (best.length === count && scores[id]! <= scores[best[count - 1]!]!) continue;
    let at = best.length;
    while (at > 0 && scores[best[at - 1]!]! < scores[id]!) at--;
    best.splice(at, 0, id);
    if (best.length > count) best.pop();
  }
  return best;
}
