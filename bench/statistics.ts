/** Order statistics over samples. Pure. */

/** Linear between the two nearest samples; NaN of none. */
export function quantile(samples: readonly number[], share: number): number {
  const sorted = samples.toSorted((a, b) => a - b);
  const place = share * (sorted.length - 1);
  const below = sorted[Math.floor(place)] ?? NaN;
  const above = sorted[Math.ceil(place)] ?? NaN;
  return below + (above - below) * (place - Math.floor(place));
}

export function median(samples: readonly number[]): number {
  return quantile(samples, 0.5);
}

/**
 * What undisturbed work takes, to be compared: whatever else happens on a machine only ever adds to a sample, so that one
 * of the fastest tells more than the median.
 */
export function nearFastest(samples: readonly number[]): number {
  return quantile(samples, 0.1);
}

export function sum(samples: readonly number[]): number {
  return samples.reduce((total, sample) => total + sample, 0);
}

/** The median of samples, and between what that of many more would lie in 9 of 10 cases. */
export interface MedianEstimate {
  readonly median: number;
  readonly low: number;
  readonly high: number;
}

/** Half of the samples lie below the median give or take chance: by the normal approximation of the binomial distribution. */
export function estimateMedian(samples: readonly number[]): MedianEstimate {
  const around = Math.min(0.5, (0.5 * 1.645) / Math.sqrt(samples.length));
  return { median: median(samples), low: quantile(samples, 0.5 - around), high: quantile(samples, 0.5 + around) };
}

/** A measured value that was taken several times. */
export interface Spread {
  readonly median: number;
  readonly least: number;
  readonly most: number;
}

export function spread(samples: readonly number[]): Spread {
  return { median: median(samples), least: quantile(samples, 0), most: quantile(samples, 1) };
}
