/**
 * Prompts on their way through the engine's own sequences, runner, sampler and step plan, joining and leaving between
 * steps; keeps the logits of every row. Knows nothing about what is expected.
 */

import { kvShape, kvTypes } from '../serving/limits.ts';
import type { Dtype } from '../weights/tensor-view.ts';
import type { Backend } from '../backend/backend.ts';
import type { StepOutput, StepSegment, WeightedSlot } from '../backend/step.ts';
import { assert, present } from '../base/assert.ts';
import type { BaseModel } from '../engine/base-model.ts';
import { KvCache, type KvSpan } from '../engine/kv-cache.ts';
import { Runner } from '../engine/runner.ts';
import { GREEDY } from '../engine/sampling/params.ts';
import { Sampler } from '../engine/sampling/sampler.ts';
import { SamplingScratch } from '../engine/sampling/scratch.ts';
import { TokenHistory } from '../engine/sampling/token-history.ts';
import { Sequence, type SequenceAdvance } from '../engine/sequence.ts';
import { planStep } from '../scheduler/plan.ts';
import type { Answer } from './comparison.ts';

export interface Task {
  readonly prompt: readonly number[];
  /** At least 1. */
  readonly newTokenCount: number;
  readonly adapters: readonly WeightedSlot[];
  /** The device chooses the tokens, as for plain greedy requests; otherwise the sampler does. */
  readonly isReduced: boolean;
}

export interface Pace {
  /** Prompt tokens in one step. */
  readonly prefillBudget: number;
  /** Tasks that join before one step. */
  readonly joinsPerStep: number;
  /** Share of the cells that all tasks together need: below 1 tasks wait for others' cells. */
  readonly cellShare: number;
}

export const ALL_AT_ONCE: Pace = { prefillBudget: Infinity, joinsPerStep: Infinity, cellShare: 1 };

export interface BatchRunParts {
  readonly backend: Backend;
  readonly model: BaseModel;
  readonly dtype: Dtype;
}

interface RunningTask {
  readonly task: Task;
  readonly history: TokenHistory;
  readonly sequence: Sequence;
  readonly rows: Float32Array[];
}

interface RecordedStep {
  readonly segments: readonly StepSegment[];
  readonly output: StepOutput;
}

export class BatchRun {
  readonly #tasks: readonly Task[];
  readonly #pace: Pace;
  readonly #vocabSize: number;
  readonly #kv: KvCache;
  readonly #runner: Runner;
  readonly #scratch: SamplingScratch;
  readonly #answers = new Map<Task, Answer>();
  #joinedCount = 0;
  #running: readonly RunningTask[] = [];
  #step: RecordedStep | undefined;

  constructor({ backend, model, dtype }: BatchRunParts, tasks: readonly Task[], pace: Pace) {
    const { decoder } = model.description;
    const { vocabSize } = decoder;
    const cellCount = countCells(tasks, pace.cellShare);
    this.#tasks = tasks;
    this.#pace = pace;
    this.#vocabSize = vocabSize;
    this.#scratch = new SamplingScratch(vocabSize);
    this.#kv = new KvCache(backend.createKvStore(kvShape(decoder, kvTypes(dtype, 'high'), cellCount)));
    const recorder: Pick<Backend, 'runStep'> = {
      runStep: async (forward, kv, segments, options) => {
        const output = await backend.runStep(forward, kv, segments, options);
        this.#step = { segments, output };
        return output;
      },
    };
    this.#runner = new Runner(recorder, model.decoder, this.#kv);
  }

  /** Runs until every task has its tokens. */
  async finish(): Promise<Answer[]> {
    while (this.#answers.size < this.#tasks.length) {
      this.#join();
      await this.#advance();
      this.#kv.checkIntegrity();
    }
    assert(this.#kv.usedCount === 0, 'all cells are free after the last task');
    return this.#tasks.map((task) => present(this.#answers.get(task), 'an answer'));
  }

  dispose(): void {
    this.#kv.dispose();
  }

  #join(): void {
    for (let joined = 0; joined < this.#pace.joinsPerStep; joined++) {
      const task = this.#tasks[this.#joinedCount];
      const span = task && this.#kv.take(cellsOf(task));
      if (task === undefined || span === undefined) return;
      this.#running = [...this.#running, this.#start(task, span)];
      this.#joinedCount++;
    }
  }

  #start(task: Task, span: KvSpan): RunningTask {
    const history = new TokenHistory(task.prompt);
    const { adapters, isReduced } = task;
    const vocabSize = this.#vocabSize;
    const sampler = new Sampler(GREEDY, { vocabSize, watermark: { gamma: 0, delta: 0 }, scratch: this.#scratch });
    const sequence = new Sequence({
      ...{ history, span, adapters, sampler },
      chosenBy: isReduced ? 'arg-max' : 'sampler',
      alternatives: 0,
      // Log-probabilities of the prompt are how the engine gives the logits of all its rows.
      promptLogprobs: true,
      maxNewTokens: task.newTokenCount,
    });
    return { task, history, sequence, rows: [] };
  }

  async #advance(): Promise<void> {
    const sequences = this.#running.map(({ sequence }) => sequence);
    const shares = planStep(sequences, this.#pace.prefillBudget);
    const { advances } = await this.#runner.step(shares, { keepHidden: false });
    for (const [i, { sequence }] of shares.entries()) {
      const running = present(this.#running[sequences.indexOf(sequence)], 'the task of a sequence');
      this.#keepRows(running, i);
      this.#takeToken(running, advances[i]!);
    }
    this.#running = this.#running.filter(({ task }) => !this.#answers.has(task));
  }

  #keepRows({ rows }: RunningTask, index: number): void {
    const { segments, output } = present(this.#step, 'the step');
    const { outputCount } = segments[index]!;
    for (let row = 0; row < outputCount; row++) rows.push(output.logits(index, row).slice());
  }

  #takeToken({ task, history, sequence, rows }: RunningTask, advance: SequenceAdvance | Error): void {
    if (advance instanceof Error) throw advance;
    const [chosen] = advance.chosen;
    if (chosen === undefined) return;
    const tokens = history.tokens.slice(history.promptLen);
    if (tokens.length < task.newTokenCount) return;
    this.#kv.give(sequence.span);
    this.#answers.set(task, { rows, tokens });
  }
}

/** The last token is chosen, never computed. */
function cellsOf({ prompt, newTokenCount }: Task): number {
  return prompt.length + newTokenCount - 1;
}

function countCells(tasks: readonly Task[], share: number): number {
  const needs = tasks.map(cellsOf);
  const total = needs.reduce((sum, need) => sum + need, 0);
  return Math.max(...needs, Math.ceil(total * share));
}
