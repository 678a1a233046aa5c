/**
 * The best approximation of a sum of low-rank deltas by one of a given rank: its truncated singular value decomposition.
 * The sum itself, `[out, in]`, is never formed: the factors side by side have it all, and are reduced by QR.
 */

import { Matrix, QrDecomposition, SingularValueDecomposition } from 'ml-matrix';

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
  const right = reduce(sideBySide(deltas.map((delta) => matrix(delta.a, delta.rank).transpose())));
  const left = reduce(
    sideBySide(deltas.map(({ b, factor, ...delta }) => matrix(b, b.length / delta.rank).mul(factor))),
  );
  const core = left.r.mmul(right.r.transpose());
  const svd = new SingularValueDecomposition(core, { autoTranspose: true });
  const kept = Math.min(rank, core.rows, core.columns);
  const u = left.q.mmul(svd.leftSingularVectors.subMatrix(0, core.rows - 1, 0, kept - 1));
  const v = right.q.mmul(svd.rightSingularVectors.subMatrix(0, core.columns - 1, 0, kept - 1));
  u.mulRowVector(svd.diagonal.slice(0, kept));
  return { rank: kept, a: floats(v.transpose()), b: floats(u) };
}

/** Columns of an orthonormal `q` and what is left, `q r = tall`; a matrix that is not tall has nothing to reduce. */
function reduce(tall: Matrix): { readonly q: Matrix; readonly r: Matrix } {
  if (tall.rows <= tall.columns) return { q: Matrix.eye(tall.rows), r: tall };
  const { orthogonalMatrix, upperTriangularMatrix } = new QrDecomposition(tall);
  return { q: orthogonalMatrix, r: upperTriangularMatrix };
}

function sideBySide(matrices: readonly Matrix[]): Matrix {
  const columns = matrices.reduce((sum, part) => sum + part.columns, 0);
  const whole = Matrix.zeros(matrices[0]?.rows ?? 0, columns);
  let column = 0;
  for (const part of matrices) {
    whole.setSubMatrix(part, 0, column);
    column += part.columns;
  }
  return whole;
}

function matrix(values: Float32Array, rows: number): Matrix {
  return Matrix.from1DArray(rows, values.length / rows, values);
}

function floats(source: Matrix): Float32Array {
  const { rows, columns } = source;
  const values = new Float32Array(rows * columns);
  for (let row = 0; row < rows; row++) values.set(source.getRow(row), row * columns);
  return values;
}
