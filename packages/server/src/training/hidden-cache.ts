/**
 * Hidden states of all samples' learnt rows, computed once and kept in a temporary file within a budget of
 * disk space; samples beyond it are computed anew each time. Knows no labels and no heads.
 */

import { mkdtemp, open, rm, type FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import { assert } from '../base/assert.ts';
import { countHandle } from '../base/handles.ts';
import type { HiddenStates } from './hidden-states.ts';
import type { Sample } from './sample.ts';

const FLOAT_BYTES = 4;

export class HiddenCache {
  readonly #states: HiddenStates;
  readonly #file: FileHandle;
  readonly #folder: string;
  readonly #budgetBytes: number;
  /** Where each known sample's rows begin. */
  readonly #offsets = new Map<Sample, number>();
  #usedBytes = 0;

  private constructor(states: HiddenStates, file: FileHandle, folder: string, budgetBytes: number) {
    this.#states = states;
    this.#file = file;
    this.#folder = folder;
    this.#budgetBytes = budgetBytes;
    countHandle('hidden cache', 1);
  }

  /** Keeps its file in a folder of its own below `parent`. */
  static async open(states: HiddenStates, parent: string, budgetBytes: number): Promise<HiddenCache> {
    const folder = await mkdtemp(join(parent, 'hidden-'));
    return new HiddenCache(states, await open(join(folder, 'states'), 'w+'), folder, budgetBytes);
  }

  /** The hidden states of the sample's `rows`, `[rows, hidden]`. One call at a time. */
  async of(sample: Sample, signal: AbortSignal): Promise<Float32Array> {
    const offset = this.#offsets.get(sample);
    if (offset !== undefined) return this.#read(sample, offset);
    const states = pick(await this.#states.of(sample.tokens, signal), sample.rows, this.#states.hiddenSize);
    if (this.#fits(sample)) await this.#write(sample, states);
    return states;
  }

  /** Computes what is not known yet; false where there is no room to keep it. */
  async keep(sample: Sample, signal: AbortSignal): Promise<boolean> {
    if (!this.#fits(sample)) return false;
    await this.of(sample, signal);
    return true;
  }

  async dispose(): Promise<void> {
    await this.#file.close();
    await rm(this.#folder, { recursive: true, force: true });
    countHandle('hidden cache', -1);
  }

  async #read({ rows }: Sample, offset: number): Promise<Float32Array> {
    const states = new Float32Array(rows.length * this.#states.hiddenSize);
    const { bytesRead } = await this.#file.read(states, 0, states.byteLength, offset);
    assert(bytesRead === states.byteLength, 'the cache holds what was written');
    return states;
  }

  async #write(sample: Sample, states: Float32Array): Promise<void> {
    const { bytesWritten } = await this.#file.write(states, 0, states.byteLength, this.#usedBytes);
    assert(bytesWritten === states.byteLength, 'the disk takes what it accepts');
    this.#offsets.set(sample, this.#usedBytes);
    this.#usedBytes += states.byteLength;
  }

  #fits({ rows }: Sample): boolean {
    return this.#usedBytes + rows.length * this.#states.hiddenSize * FLOAT_BYTES <= this.#budgetBytes;
  }
}

function pick(states: Float32Array, rows: Int32Array, hiddenSize: number): Float32Array {
  const picked = new Float32Array(rows.length * hiddenSize);
  for (const [index, row] of rows.entries()) {
    picked.set(states.subarray(row * hiddenSize, (row + 1) * hiddenSize), index * hiddenSize);
  }
  return picked;
}
