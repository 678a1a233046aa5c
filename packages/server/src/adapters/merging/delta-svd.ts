/**
 * The best approximation of a sum of low-rank deltas by one of a given rank: its truncated singular value decomposition.
 * The sum itself, `[out, in]`, is never formed: the factors side by side have it all, and are reduced by QR.
 */

import { type Matrix, SingularValueDecomposition } from 'ml-matrix';
import { orthogonalise } from './orthogonal-columns.ts';

/** `factor * B A`. */
export interface LowRankDelta {
  readonly rank: number;
  readonly factor: number;
  /** `[rank, in]` */
  readonly a: Float32Array;
  /** `[out, rank]` */
  readonly b: Float32Array;
}

export interface TruncatedDelta {
  readonly rank: number;
  /** `[rank, in]`, orthonormal rows: the right singular vectors. */
  readonly a: Float32Array;
  /** `[out, rank]`: the left singular vectors times the singular values. */
  readonly b: Float32Array;
}

/** Of at most `rank`, for the sum may have less. */
export function truncateSum(deltas: readonly LowRankDelta[], rank: number): TruncatedDelta {
  const left = orthogonalise(deltas.flatMap(columnsOfB));
  const right = orthogonalise(deltas.flatMap(rowsOfA));
  const svd = new SingularValueDecomposition(left.r.mmul(right.r.transpose()));
  const kept = Math.min(rank, left.q.length, left.q[0]?.length ?? 0, right.q[0]?.length ?? 0);
  const u = svd.leftSingularVectors.mulRowVector(svd.diagonal);
  const b = combine(left.q, u, kept);
  const a = combine(right.q, svd.rightSingularVectors, kept);
  return { rank: kept, a: joined(a), b: interleaved(b) };
}

function columnsOfB({ rank, factor, b }: LowRankDelta): Float64Array[] {
  const column = (j: number): Float64Array =>
    Float64Array.from({ length: b.length / rank }, (_, i) => factor * b[i * rank + j]!);
  return Array.from({ length: rank }, (_, j) => column(j));
}

function rowsOfA({ rank, a }: LowRankDelta): Float64Array[] {
  const width = a.length / rank;
  return Array.from({ length: rank }, (_, i) => Float64Array.from(a.subarray(i * width, (i + 1) * width)));
}

/** The first `count` columns of `q coefficients`. */
function combine(q: readonly Float64Array[], coefficients: Matrix, count: number): Float64Array[] {
  return Array.from({ length: count }, (_, j) => {
    const column = new Float64Array(q[0]?.length ?? 0);
    for (const [k, direction] of q.entries()) {
      const share = coefficients.get(k, j);
      for (let at = 0; at < column.length; at++) column[at]! += share * direction[at]!;
    }
    return column;
  });
}

/** Rows one after the other. */
function joined(rows: readonly Float64Array[]): Float32Array {
  const width = rows[0]?.length ?? 0;
  const values = new Float32Array(rows.length * width);
  for (const [i, row] of rows.entries()) values.set(row, i * width);
  return values;
}

/** Columns side by side, row-major. */
function interleaved(columns: readonly Float64Array[]): Float32Array {
  const values = new Float32Array(columns.length * (columns[0]?.length ?? 0));
  for (const [j, column] of columns.entries()) {
    for (let i = 0; i < column.length; i++) values[i * columns.length + j] = column[i]!;
  }
  return values;
}
