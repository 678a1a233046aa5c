/** Counts checks and tells about them: a line for each group, one for each fault, the totals last. Knows no vectors. */

import type { Outcome } from './comparison.ts';
import type { SkippedCase } from './cases.ts';

const NAME_LEN = 48;

export class Report {
  #passedCount = 0;
  #failedCount = 0;
  #skippedCount = 0;
  readonly #write: (line: string) => void;

  constructor(write: (line: string) => void) {
    this.#write = write;
  }

  /** Runs the checks of one group and tells how they went; undefined where `runChecks` threw, which counts as a fault. */
  async group<T>(name: string, runChecks: (group: CheckGroup) => Promise<T>): Promise<T | undefined> {
    const group = new CheckGroup();
    const result = await group.attempt('no result', () => runChecks(group));
    const { passedCount, faults, worstError } = group;
    this.#passedCount += passedCount;
    this.#failedCount += faults.length;
    const failed = faults.length > 0 ? `, ${faults.length} failed` : '';
    const worst = worstError > 0 ? `, worst ${worstError.toExponential(2)}` : '';
    this.#write(`${name.padEnd(NAME_LEN)} ${passedCount} passed${failed}${worst}`);
    for (const fault of faults) this.#write(`  FAILED ${name}: ${fault}`);
    return result;
  }

  skip({ name, reason }: SkippedCase): void {
    this.#skippedCount++;
    this.#write(`${name.padEnd(NAME_LEN)} skipped: ${reason}`);
  }

  /** Something was checked, and all of it passed. */
  get isGood(): boolean {
    return this.#passedCount > 0 && this.#failedCount === 0;
  }

  finish(): void {
    const skipped = this.#skippedCount > 0 ? `, ${this.#skippedCount} skipped` : '';
    this.#write(`${this.#passedCount} passed, ${this.#failedCount} failed${skipped}`);
  }
}

export class CheckGroup {
  passedCount = 0;
  /** Of the errors that can be measured. */
  worstError = 0;
  readonly faults: string[] = [];

  /** A check passes unless its outcome has a fault or it throws. */
  async check(name: string, compare: () => Outcome | Promise<Outcome>): Promise<void> {
    const outcome = await this.attempt(name, compare);
    if (outcome === undefined) return;
    if (Number.isFinite(outcome.error)) this.worstError = Math.max(this.worstError, outcome.error);
    if (outcome.fault === undefined) this.passedCount++;
    else this.faults.push(`${name}: ${outcome.fault}`);
  }

  /** The result of an action that checks depend on; undefined, and a fault, where it throws. */
  async attempt<T>(name: string, action: () => T | Promise<T>): Promise<T | undefined> {
    try {
      return await action();
    } catch (error) {
      this.faults.push(`${name}: ${error instanceof Error ? error.message : String(error)}`);
      return undefined;
    }
  }
}
