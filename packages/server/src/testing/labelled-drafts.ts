/**
 * Runs draft heads on labels instead of numbers: each row of a value says which drafted row and which head it is of. So a
 * test decides what every head guesses. Computes nothing.
 */

import { assert } from '../base/assert.ts';
import type { Backend, DraftForward, DraftGraph, Forward, Projection, Value } from '../backend/backend.ts';
import type { BestToken, DraftOutput, DraftRow } from '../backend/step.ts';

export interface Label {
  /** What the row is drafted from. */
  readonly from: DraftRow;
  /** Undefined before the heads. */
  readonly head: number | undefined;
}

interface Labelled extends Value {
  readonly labels: readonly Label[];
}

/** Scores of all tokens that a head gives a row. */
export type LabelScores = (label: Label) => Float32Array;

export class LabelledDrafts implements Pick<Backend, 'runDraft'> {
  /** Rows of each draft. */
  readonly drafts: (readonly DraftRow[])[] = [];
  readonly #scores: LabelScores;

  constructor(scores: LabelScores) {
    this.#scores = scores;
  }

  /** Stands for the base model's: its output layer leaves labels as they are. */
  readonly model: Forward = {
    hidden: () => {
      throw new Error('a draft begins with hidden states');
    },
    logits: (_, hidden) => hidden,
  };

  runDraft(forward: DraftForward, rows: readonly DraftRow[]): Promise<DraftOutput> {
    this.drafts.push(rows);
    const hidden = labelled(rows.map((from) => ({ from, head: undefined })));
    const { labels } = forward(new LabelGraph(), hidden) as Labelled;
    const known = new Map<number, Float32Array>();
    const logits = (row: number): Float32Array => {
      const scores = known.get(row) ?? this.#scores(labels[row]!);
      known.set(row, scores);
      return scores;
    };
    const best = (row: number): BestToken => {
      const scores = logits(row);
      const most = Math.max(...scores);
      return { id: scores.indexOf(most), logprob: -Math.log(scores.reduce((sum, x) => sum + Math.exp(x - most), 0)) };
    };
    return Promise.resolve({ best, logits, times: { buildMs: 0, computeMs: 0 } });
  }
}

const WIDTH = 8;

class LabelGraph implements DraftGraph {
  linear(x: Value, projections: readonly Projection[]): Value[] {
    return projections.map(({ path, inFeatures, outFeatures }) => {
      const head = /^medusa\.(\d+)\.output$/.exec(path)?.[1];
      const own = head === undefined ? labelsOf(x) : labelsOf(x).map(({ from }) => ({ from, head: Number(head) }));
      return labelled(own, (x.width * outFeatures) / inFeatures);
    });
  }

  add(a: Value, b: Value): Value {
    assert(a.rows === b.rows && a.width === b.width, 'sums are of one shape');
    return a;
  }

  silu(x: Value): Value {
    return x;
  }

  rows(x: Value, first: number, count: number): Value {
    assert(first + count <= x.rows, 'the rows are there');
    return labelled(labelsOf(x).slice(first, first + count), x.width);
  }

  stack(values: readonly Value[]): Value {
    return labelled(values.flatMap(labelsOf), values[0]!.width);
  }

  addToHeads(x: Value, y: Value): Value {
    assert(x.rows === y.rows, 'each row has its heads');
    const heads = Array.from({ length: y.width / x.width }, (_, head) => head);
    return labelled(
      labelsOf(x).flatMap(({ from }) => heads.map((head) => ({ from, head }))),
      x.width,
    );
  }
}

function labelled(labels: readonly Label[], width = WIDTH): Labelled {
  return { rows: labels.length, width, labels };
}

function labelsOf(value: Value): readonly Label[] {
  return (value as Labelled).labels;
}
