/** The vocabulary-sized memory that choosing a token needs; one serves all samplers of an engine, one row at a time. */

import { Candidates } from './candidates.ts';

export class SamplingScratch {
  readonly vocabSize: number;
  /** Scores that processors change. */
  readonly scores: Float32Array;
  readonly candidates: Candidates;
  readonly permutation: Int32Array;

  constructor(vocabSize: number) {
    this.vocabSize = vocabSize;
    this.scores = new Float32Array(vocabSize);
    this.candidates = new Candidates(vocabSize);
    this.permutation = new Int32Array(vocabSize);
  }
}
