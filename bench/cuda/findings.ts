/** What was found so far, told as it comes. A part that fails is told too, and leaves the others. Measures nothing. */

import type { Reporter } from '../report.ts';
import { isReached, resultText, type Result } from './result.ts';

export class Findings {
  readonly results: Result[] = [];
  readonly #reporter: Reporter;
  #failedCount = 0;

  constructor(reporter: Reporter) {
    this.#reporter = reporter;
  }

  get hasFailures(): boolean {
    return this.#failedCount > 0;
  }

  add(result: Result): void {
    this.results.push(result);
    this.#reporter.say(resultText(result));
    this.#reporter.record('result', { ...result, reached: isReached(result) });
  }

  async addAll(part: string, measured: AsyncIterable<Result>): Promise<void> {
    try {
      for await (const result of measured) this.add(result);
    } catch (error) {
      this.#failedCount++;
      this.#reporter.say(`failed   ${part}: ${String((error as Error).stack)}`);
      this.#reporter.record('failure', { part, error: String(error) });
    }
  }

  /** The last line. */
  summarise(): void {
    const judged = this.results.map(isReached).filter((reached) => reached !== undefined);
    const reachedCount = judged.filter(Boolean).length;
    const failures = this.hasFailures ? `; ${this.#failedCount} parts failed` : '';
    this.#reporter.say(`${reachedCount} of ${judged.length} reached${failures}`);
  }
}
