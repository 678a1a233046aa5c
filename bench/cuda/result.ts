/** One measured figure, and whether it is what this project set out to reach. Measures nothing. */

export type Limit = { readonly atMost: number } | { readonly atLeast: number };

export interface Result {
  readonly work: string;
  readonly value: number;
  /** What the value counts: `times the floor`, `ms`, ... */
  readonly unit: string;
  /** Undefined where nothing was set out to be reached. */
  readonly limit: Limit | undefined;
  /** What the value was worked out from. */
  readonly details: Readonly<Record<string, number>>;
}

/** Undefined where nothing was set out to be reached. */
export function isReached({ value, limit }: Result): boolean | undefined {
  if (limit === undefined) return undefined;
  return 'atMost' in limit ? value <= limit.atMost : value >= limit.atLeast;
}

export function resultText(result: Result): string {
  const { work, value, unit, limit, details } = result;
  const verdict = limit === undefined ? '' : isReached(result) ? 'reached' : 'missed';
  const wanted = limit === undefined ? '' : ` (to reach: ${limitText(limit)})`;
  const numbers = Object.entries(details).map(([name, number]) => `${name} ${shortText(number)}`);
  return `${verdict.padEnd(8)} ${work}: ${shortText(value)} ${unit}${wanted}; ${numbers.join(', ')}`;
}

function limitText(limit: Limit): string {
  return 'atMost' in limit ? `at most ${limit.atMost}` : `at least ${limit.atLeast}`;
}

function shortText(value: number): string {
  return Math.abs(value) >= 1000 ? value.toFixed(0) : value.toPrecision(3);
}
