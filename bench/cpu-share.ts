/**
 * Tells whether this process had its cores for itself. The threads that compute a step wait for each other by spinning, so
 * an undisturbed step uses all of its cores all of the time; a thread that was set aside for somebody else's work shows.
 */

/** What the system's own work takes anyway. */
const UNDISTURBED_SHARE = 0.97;

const US_PER_MS = 1000;

export class CpuShare {
  readonly #threads: number;
  #cpuMs = 0;
  #wallMs = 0;

  constructor(threads: number) {
    this.#threads = threads;
  }

  /** Whether it did since the last call. */
  isUndisturbed(): boolean {
    const { user, system } = process.cpuUsage();
    const cpuMs = (user + system) / US_PER_MS;
    const wallMs = performance.now();
    const share = (cpuMs - this.#cpuMs) / ((wallMs - this.#wallMs) * this.#threads);
    this.#cpuMs = cpuMs;
    this.#wallMs = wallMs;
    return share >= UNDISTURBED_SHARE;
  }
}
