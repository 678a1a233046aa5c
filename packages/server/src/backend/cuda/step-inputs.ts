/**
 * What differs between two steps of one shape, as the device's memory sees it: tokens, positions, cells, who sees what, what
 * is drawn. Written down once with the program, read anew from the layout of each step that the program runs for.
 */

import type { Rotary } from '../backend.ts';
import type { StepSegment } from '../step.ts';
import { drawsTokens, drawTable } from './draws.ts';
import { planAttention, roomFor, type AttentionPlan, type AttentionRoom, type PlanOptions } from './attention-plan.ts';
import type { InputData } from './input-block.ts';
import type { Program } from './program.ts';
import type { RowSet } from './row-set.ts';
import type { Slab } from './slab.ts';
import type { StepLayout } from './step-layout.ts';

/** Who sees what, as attention-plan.ts lays it out. */
export interface AttentionTables extends AttentionRoom {
  readonly shares: Slab;
  readonly list: Slab;
  readonly tiles: Slab;
  /** Of the parts that are done of each row, by the blocks of a share: zeros before a kernel and after it. */
  readonly counters: Slab;
}

const INT_BYTES = 4;

/** By the segments of a step and what it is planned for: all layers of a kind and all shards of a model have the same. */
const PLANS = new WeakMap<readonly StepSegment[], Map<string, AttentionPlan>>();

export class StepInputs {
  readonly rows: RowSet;
  readonly outputs: RowSet;
  readonly tokens: Slab;
  readonly positions: Slab;
  readonly cells: Slab;
  /** Whether the program runs for this step and no other. */
  readonly comesOnce: boolean;
  readonly #program: Program;
  #layout: StepLayout;
  #outputRows: Slab | undefined;
  readonly #frequencies = new Map<Rotary, Slab>();
  /** By what they are planned for. */
  readonly #attention = new Map<string, AttentionTables>();

  constructor(program: Program, layout: StepLayout, comesOnce: boolean) {
    this.#program = program;
    this.#layout = layout;
    this.comesOnce = comesOnce;
    this.rows = currentRows(() => this.#layout.rows);
    // One set where they are the same: what kernels read of a set's adapters goes up once.
    this.outputs = this.isWholeOutput ? this.rows : currentRows(() => this.#layout.outputs);
    this.tokens = this.#input(({ tokens }) => tokens);
    this.positions = this.#input(({ positions }) => positions);
    this.cells = this.#input(({ cells }) => cells);
  }

  /** The step that the program runs for next, of the shape that it was written down for. */
  layOut(layout: StepLayout): void {
    this.#layout = layout;
  }

  get isWholeOutput(): boolean {
    return this.#layout.outputRows.length === this.#layout.tokens.length;
  }

  outputRows(): Slab {
    return (this.#outputRows ??= this.#input(({ outputRows }) => outputRows));
  }

  /** A table of draws.ts for the output rows; undefined where steps of this shape draw nothing. */
  draws(): Slab | undefined {
    return drawsTokens(this.#layout.segments) ? this.#input(drawTable) : undefined;
  }

  frequencies(rotary: Rotary): Slab {
    const known = this.#frequencies.get(rotary) ?? this.#input(() => rotary.inverseFrequencies);
    this.#frequencies.set(rotary, known);
    return known;
  }

  attention(options: PlanOptions): AttentionTables {
    const key = Object.values(options).join();
    const known = this.#attention.get(key) ?? this.#planAttention(options, key);
    this.#attention.set(key, known);
    return known;
  }

  #planAttention(options: PlanOptions, key: string): AttentionTables {
    const planOf = ({ segments }: StepLayout): AttentionPlan => {
      const plans = PLANS.get(segments) ?? new Map<string, AttentionPlan>();
      PLANS.set(segments, plans);
      const plan = plans.get(key) ?? planAttention(segments, options);
      plans.set(key, plan);
      return plan;
    };
    const room = roomFor(this.#layout.segments, options);
    const zeros = new Int32Array(room.partCount * options.blocksPerShare);
    return {
      ...room,
      shares: this.#input((layout) => planOf(layout).shares),
      list: this.#program.input(this.#layout.mostListed * INT_BYTES, () => planOf(this.#layout).list),
      tiles: this.#input((layout) => planOf(layout).tiles),
      counters: this.#input(() => zeros),
    };
  }

  /** As long in every step as in this one. */
  #input(read: (layout: StepLayout) => InputData): Slab {
    return this.#program.input(read(this.#layout).byteLength, () => read(this.#layout));
  }
}

/** Those that there are when it is read. */
function currentRows(read: () => RowSet): RowSet {
  return {
    get rows() {
      return read().rows;
    },
  };
}
