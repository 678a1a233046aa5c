/** Log-probabilities as JSON can carry them. */

/** OpenAI's stand-in for the logarithm of (almost) nothing: JSON has no infinity. */
const LOWEST = -9999;

export function finiteLogprob(logprob: number): number {
  return Math.max(logprob, LOWEST);
}
