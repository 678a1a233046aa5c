/**
 * Tells whether this process had its cores for itself. The threads that compute a step wait for each other by spinning, so
 * an undisturbed step uses all of its cores all of the time; a thread that was set aside for somebody else's work shows.
 */

/** What the system's own work takes anyway. */
const UNDISTURBED_SHARE = 0.97;

const US_PER_MS = 1000;

export class CpuShare {
  readonly #threads: number;
  #cpuMs = processCpuMs();
  #wallMs = performance.now();

  constructor(threads: number) {
    this.#threads = threads;
  }

  /** Whether it had since the last call, or since it was made. */
  isUndisturbed(): boolean {
    const cpuMs = processCpuMs() - this.#cpuMs;
    const wallMs = performance.now() - this.#wallMs;
    this.#cpuMs += cpuMs;
    this.#wallMs += wallMs;
    return cpuMs / (wallMs * this.#threads) >= UNDISTURBED_SHARE;
  }
}

function processCpuMs(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / US_PER_MS;
}
