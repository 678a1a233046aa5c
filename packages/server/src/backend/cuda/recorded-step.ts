/** A step written down, for itself or once for all steps of its shape. Knows what they compute; knows no memory and no other shapes. */

import type { Forward, StepOptions } from '../backend.ts';
import type { StepSegment } from '../step.ts';
import type { Arena } from './arena.ts';
import type { CudaKvStore } from './kv-store.ts';
import type { Program } from './program.ts';
import { chooseTokens } from './row-choices.ts';
import type { RowDevice } from './row-operations.ts';
import { StepGraph } from './step-graph.ts';
import { StepInputs } from './step-inputs.ts';
import type { StepLayout } from './step-layout.ts';
import type { StepResults } from './step-output.ts';
import type { CudaValue } from './values.ts';

/** What a backend is asked for. */
export interface StepRequest {
  readonly forward: Forward;
  readonly kv: CudaKvStore;
  readonly segments: readonly StepSegment[];
  readonly options: StepOptions;
}

export class RecordedStep {
  readonly results: StepResults;
  readonly #program: Program;
  readonly #inputs: StepInputs;
  readonly #forward: Forward;
  readonly #kv: CudaKvStore;

  /** Writes down the step with this layout, which alone it is for where it `comesOnce`. */
  constructor(device: RowDevice, { forward, kv, options }: StepRequest, layout: StepLayout, comesOnce: boolean) {
    const { program } = device;
    this.#program = program;
    this.#forward = forward;
    this.#kv = kv;
    this.#inputs = new StepInputs(program, layout, comesOnce);
    const graph = new StepGraph(device, this.#inputs, kv);
    const hidden = forward.hidden(graph) as CudaValue;
    const logits = forward.logits(graph, hidden) as CudaValue;
    const draws = this.#inputs.draws();
    const chosen = options.reduce || draws ? chooseTokens(program, logits, draws) : undefined;
    const kept = options.keepHidden ? hidden : undefined;
    for (const value of [logits, kept]) if (value) program.keep(value.slab);
    this.results = { logits, chosen, hidden: kept };
  }

  /** Whether it is of this model, over these cells. */
  isOf({ forward, kv }: StepRequest): boolean {
    return forward === this.#forward && kv === this.#kv;
  }

  /** Gives the device a step that comes once. */
  runOnce(arena: Arena, what: string): void {
    this.#program.run(arena, what);
  }

  /** The same for a step that may have another layout of the same shape, and is likely to come again. */
  runOften(layout: StepLayout, arena: Arena, what: string): void {
    this.#inputs.layOut(layout);
    this.#program.runOften(arena, what);
  }

  /** Once its work is done. */
  dispose(): void {
    this.#program.dispose();
  }
}
