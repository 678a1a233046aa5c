/**
 * A step written down on every shard, for itself or once for all steps of its shape. Knows what they compute; knows no memory
 * and no other shapes.
 */

import { present } from '../../base/assert.ts';
import type { Forward, StepOptions } from '../backend.ts';
import type { StepSegment } from '../step.ts';
import type { Program } from './program.ts';
import { chooseTokens } from './row-choices.ts';
import type { Collectives } from './shards/collectives.ts';
import { JointProgram } from './shards/joint-program.ts';
import type { Shard } from './shards/shard.ts';
import type { ShardedKvStore } from './shards/sharded-kv-store.ts';
import { StepInputs } from './step-inputs.ts';
import type { StepLayout } from './step-layout.ts';
import type { StepResults } from './step-output.ts';
import type { CudaValue } from './values.ts';

/** What writing steps down needs of a shard. */
export type StepShard = Pick<Shard, 'beginProgram' | 'stepGraph' | 'stepArena'>;

/** All shards of a model and how they reach each other. */
export interface ShardGroup<T extends StepShard = StepShard> {
  readonly shards: readonly T[];
  readonly collectives: Collectives;
}

/** What a backend is asked for. */
export interface StepRequest {
  readonly forward: Forward;
  readonly kv: ShardedKvStore;
  readonly segments: readonly StepSegment[];
  readonly options: StepOptions;
}

interface WrittenStep {
  readonly program: Program;
  readonly inputs: StepInputs;
  readonly results: StepResults;
}

export class RecordedStep {
  readonly #written: readonly WrittenStep[];
  readonly #program: JointProgram;
  readonly #forward: Forward;
  readonly #kv: ShardedKvStore;
  readonly #arenas: readonly Shard['stepArena'][];

  /** Writes down what is done to a step with these layouts, one a shard; it is for them alone where it `comesOnce`. */
  constructor(
    { shards, collectives }: ShardGroup,
    step: StepRequest,
    layouts: readonly StepLayout[],
    comesOnce: boolean,
  ) {
    this.#forward = step.forward;
    this.#kv = step.kv;
    this.#written = shards.map((shard, i) => writeStep(shard, i, step, layouts[i]!, comesOnce));
    this.#arenas = shards.map(({ stepArena }) => stepArena);
    this.#program = new JointProgram(
      this.#written.map(({ program }) => program),
      collectives,
    );
  }

  /** Tokens are chosen on the first shard; all have the same logits and hidden states. */
  get results(): StepResults {
    return present(this.#written[0], 'a shard').results;
  }

  /** By shard; undefined where the step did not keep them. */
  get hidden(): readonly (CudaValue | undefined)[] {
    return this.#written.map(({ results }) => results.hidden);
  }

  /** Whether it is of this model, over these cells. */
  isOf({ forward, kv }: StepRequest): boolean {
    return forward === this.#forward && kv === this.#kv;
  }

  /** Gives the devices a step that comes once. */
  runOnce(what: string): void {
    this.#program.run(this.#arenas, what);
  }

  /** The same for a step that may have other layouts of the same shape, and is likely to come again. */
  runOften(layouts: readonly StepLayout[], what: string): void {
    for (const [i, { inputs }] of this.#written.entries()) inputs.layOut(layouts[i]!);
    this.#program.runOften(this.#arenas, what);
  }

  /** Once its work is done. */
  dispose(): void {
    this.#program.dispose();
  }
}

function writeStep(
  shard: StepShard,
  index: number,
  { forward, kv, options }: StepRequest,
  layout: StepLayout,
  comesOnce: boolean,
): WrittenStep {
  const device = shard.beginProgram();
  const { program } = device;
  const inputs = new StepInputs(program, layout, comesOnce);
  const graph = shard.stepGraph(device, inputs, kv.parts[index]!);
  const hidden = forward.hidden(graph) as CudaValue;
  const logits = forward.logits(graph, hidden) as CudaValue;
  const draws = index === 0 ? inputs.draws() : undefined;
  const choosing = index === 0 && (options.reduce || draws !== undefined);
  const chosen = choosing ? chooseTokens(program, logits, draws) : undefined;
  const kept = options.keepHidden ? hidden : undefined;
  for (const value of [logits, kept]) if (value) program.keep(value.slab);
  return { program, inputs, results: { logits, chosen, hidden: kept } };
}
