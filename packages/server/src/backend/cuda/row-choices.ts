/** Chooses tokens from rows of logits on the device, and reads what was chosen in one copy. Knows nothing about requests. */

import { assert } from '../../base/assert.ts';
import type { BestToken, DrawnToken } from '../step.ts';
import type { Driver } from './driver.ts';
import { readInto } from './device-rows.ts';
import type { Program } from './program.ts';
import type { Slab } from './slab.ts';
import type { CudaValue } from './values.ts';

/** As sampling.cu has them. */
const CHUNK_LEN = 4096;
const CHUNK_THREADS = 256;
const MOST_CHUNKS = CHUNK_THREADS;
const CHUNK_SCAN_BYTES = 16;
const ROW_SCAN_BYTES = 8;
const CUT_BYTES = 8;
const MASS_BYTES = 8;

/** An id and a log-probability. */
const CHOICE_BYTES = 8;

const WARP = 32;

/** Of a block that orders a row: a power of two. */
const CUT_THREADS = 1024;

const UNDECIDED = -1;

/** Where the choices of a program come to lie: the likeliest token of every row, then what was drawn after every row. */
export interface ChoiceSlab {
  readonly slab: Slab;
  readonly rowCount: number;
  readonly hasDraws: boolean;
}

/** `draws` is the table of draws.ts for these rows; undefined takes the likeliest tokens only. Kept for the reader. */
export function chooseTokens(program: Program, logits: CudaValue, draws: Slab | undefined): ChoiceSlab {
  const { rows, width, stride } = logits;
  const chunkCount = Math.ceil(width / CHUNK_LEN);
  assert(chunkCount <= MOST_CHUNKS, `a vocabulary of at most ${MOST_CHUNKS * CHUNK_LEN} tokens`);
  const slab = program.claim(rows * CHOICE_BYTES * (draws === undefined ? 1 : 2));
  const chunkScans = program.claim(rows * chunkCount * CHUNK_SCAN_BYTES);
  const rowScans = program.claim(rows * ROW_SCAN_BYTES);
  const chunks = { blocks: [chunkCount, rows], threads: CHUNK_THREADS } as const;
  const scores = [logits, stride, width] as const;
  program.launch('scan_chunks', chunks, chunkScans, ...scores);
  program.launch('best_tokens', { blocks: [rows], threads: WARP }, slab, rowScans, chunkScans, chunkCount, width);
  if (draws !== undefined) {
    const cuts = program.claim(rows * CUT_BYTES);
    const masses = program.claim(rows * chunkCount * MASS_BYTES);
    const drawn = { slab, offset: rows * CHOICE_BYTES };
    const asked = [rowScans, draws, ...scores] as const;
    program.launch('cut_rows', { blocks: [rows], threads: CUT_THREADS }, cuts, ...asked);
    program.launch('weigh_chunks', chunks, masses, cuts, ...asked);
    program.launch('draw_tokens', { blocks: [rows], threads: CHUNK_THREADS }, drawn, masses, cuts, ...asked);
  }
  program.keep(slab);
  return { slab, rowCount: rows, hasDraws: draws !== undefined };
}

export class RowChoices {
  readonly #ids: Int32Array;
  readonly #logprobs: Float32Array;
  readonly #rowCount: number;

  /** Reads them; the program must be done. */
  constructor(driver: Driver, { slab, rowCount, hasDraws }: ChoiceSlab) {
    const choices = new Int32Array((rowCount * (hasDraws ? 2 : 1) * CHOICE_BYTES) / Int32Array.BYTES_PER_ELEMENT);
    this.#ids = readInto(driver, choices, slab.address);
    this.#logprobs = new Float32Array(choices.buffer);
    this.#rowCount = rowCount;
  }

  best(row: number): BestToken {
    return { id: this.#ids[2 * row]!, logprob: this.#logprobs[2 * row + 1]! };
  }

  /** Undefined where the row draws nothing or is undecided. */
  drawn(row: number): DrawnToken | undefined {
    const at = 2 * (this.#rowCount + row);
    const id = this.#ids[at] ?? UNDECIDED;
    return id === UNDECIDED ? undefined : { id, logprob: this.#logprobs[at + 1]! };
  }
}
