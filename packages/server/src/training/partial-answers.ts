/**
 * Answered records on their way to a whole file: kept line by line beside it, so that a run that was stopped goes on.
 * Knows nothing about what the records say.
 */

import { appendFile, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { basename } from 'node:path';
import { z } from 'zod';
import { LoraxError } from '../base/errors.ts';

const lineSchema = z.object({ index: z.int().min(0), record: z.unknown() });

export class PartialAnswers {
  readonly #path: string;
  readonly #partialPath: string;
  /** By index of the question; null where there is nothing to keep. */
  readonly #records: Map<number, unknown>;
  #lastWrite: Promise<void> = Promise.resolve();

  private constructor(path: string, partialPath: string, records: Map<number, unknown>) {
    this.#path = path;
    this.#partialPath = partialPath;
    this.#records = records;
  }

  /** `identity` says what was asked and how. Throws OPTION_INVALID where the file answers something else. */
  static async open(path: string, identity: string): Promise<PartialAnswers> {
    const partialPath = `${path}.partial.jsonl`;
    const text = await readFile(partialPath, 'utf8').catch(() => undefined);
    const [header, ...lines] = (text ?? '').split('\n').slice(0, -1);
    if (header !== undefined && header !== identity) {
      const reason = `${basename(partialPath)} holds answers to other questions or settings; remove it or name another file`;
      throw new LoraxError('OPTION_INVALID', { option: '--output-filename', reason });
    }
    const records = new Map(lines.flatMap(parseLine));
    // Written anew, because a line that a crash cut short would spoil the one behind it.
    await writeFile(partialPath, `${identity}\n${[...records].map(asLine).join('')}`);
    return new PartialAnswers(path, partialPath, records);
  }

  has(index: number): boolean {
    return this.#records.has(index);
  }

  get count(): number {
    return this.#records.size;
  }

  add(index: number, record: unknown): Promise<void> {
    this.#records.set(index, record);
    this.#lastWrite = this.#lastWrite.then(() => appendFile(this.#partialPath, asLine([index, record])));
    return this.#lastWrite;
  }

  /** Writes the whole file, in the order of the questions, and returns how many records it has. */
  async finish(): Promise<number> {
    const inOrder = [...this.#records].toSorted(([a], [b]) => a - b);
    const kept = inOrder.filter(([, record]) => record !== null);
    const unfinished = `${this.#path}.partial`;
    await writeFile(unfinished, `[\n${kept.map(([, record]) => JSON.stringify(record)).join(',\n')}\n]\n`);
    await rename(unfinished, this.#path);
    await rm(this.#partialPath);
    return kept.length;
  }
}

function parseLine(line: string): [number, unknown][] {
  try {
    const { index, record } = lineSchema.parse(JSON.parse(line));
    return [[index, record]];
  } catch {
    return []; // cut short: the question is asked again
  }
}

const asLine = ([index, record]: [number, unknown]): string => `${JSON.stringify({ index, record })}\n`;
