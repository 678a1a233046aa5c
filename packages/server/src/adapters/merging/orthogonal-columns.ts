/** QR decomposition of a tall matrix given by its columns: by Gram and Schmidt, each column twice to stay exact. */

import { Matrix } from 'ml-matrix';

export interface OrthogonalColumns {
  /** Orthonormal, as many as the columns; zero where a column depends on those before it. */
  readonly q: readonly Float64Array[];
  /** `column[j] = sum of r[i][j] * q[i]`. */
  readonly r: Matrix;
}

/** A column of which no larger share is left without the others is a sum of them. */
const DEPENDENT_SHARE = 1e-12;

export function orthogonalise(columns: readonly Float64Array[]): OrthogonalColumns {
  const q: Float64Array[] = [];
  const r = Matrix.zeros(columns.length, columns.length);
  for (const [j, column] of columns.entries()) {
    const rest = column.slice();
    for (const [i, direction] of [...q.entries(), ...q.entries()]) {
      const share = dot(direction, rest);
      r.set(i, j, r.get(i, j) + share);
      for (let at = 0; at < rest.length; at++) rest[at]! -= share * direction[at]!;
    }
    const norm = Math.sqrt(dot(rest, rest));
    const isDependent = norm <= DEPENDENT_SHARE * Math.sqrt(dot(column, column));
    if (!isDependent) r.set(j, j, norm);
    q.push(isDependent ? new Float64Array(rest.length) : rest.map((value) => value / norm));
  }
  return { q, r };
}

function dot(a: Float64Array, b: Float64Array): number {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += a[i]! * b[i]!;
  return sum;
}
