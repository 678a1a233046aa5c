/** Many rows in one step, each with its own adapter: every row's answer is what it is alone, and what the reference says. */

import { ALL_AT_ONCE, type Pace } from './batch-run.ts';
import type { FolderCase } from './cases.ts';
import type { AnsweredPrompt, CheckedModel } from './checked-model.ts';
import { comparableRowCount, compareGreedy, compareRows, worstOf, type Answer, type Outcome } from './comparison.ts';
import { ADAPTER_LETTERS } from './merge-vectors.ts';
import type { CheckGroup } from './report.ts';
import { readMixedBatch } from './vectors.ts';
import { oneSlot } from '../backend/step.ts';

/** Chunks of several prompts beside others' next tokens; later sequences lie in cells that earlier ones left. */
const JOINING: Pace = { prefillBudget: 23, joinsPerStep: 2, cellShare: 0.4 };

const PACES: readonly (readonly [string, Pace])[] = [
  ['joining and leaving', JOINING],
  ['all at once', ALL_AT_ONCE],
];

/** All prompts to the base and to every adapter together. */
export async function checkBatches({ session, options, answered }: CheckedModel, group: CheckGroup): Promise<void> {
  if (answered.length === 0) return;
  const { tolerance } = options.precision;
  // First prompts of all, then second ones: neighbours differ in adapter.
  const asked = answered.toSorted((a, b) => a.index - b.index);
  // Every other row's tokens are chosen by the sampler, the rest by the device.
  const tasks = asked.map(({ vector: { prompt, greedy }, adapters }, i) => {
    return { prompt, newTokenCount: greedy.length, adapters, isReduced: i % 2 === 0 };
  });
  for (const [name, pace] of PACES) {
    const answers = await session.answer(tasks, pace);
    for (const [i, prompt] of asked.entries()) {
      await group.check(`${prompt.name}, ${name}`, () => compareBatched(prompt, answers[i]!, tolerance));
    }
  }
}

/** The reference's rows, each with the adapter that it names, in one step. */
export async function checkMixedBatch(
  { session, options, adapters }: CheckedModel,
  { folder }: FolderCase,
  group: CheckGroup,
): Promise<void> {
  const rows = readMixedBatch(folder);
  const tasks = rows.map(({ adapter: letter, ids }) => {
    const adapter = adapters.get(ADAPTER_LETTERS[letter] ?? letter);
    if (adapter === undefined && letter !== '__base__') throw new Error(`adapter ${letter} is not loaded`);
    return { prompt: ids, newTokenCount: 1, adapters: oneSlot(adapter), isReduced: true };
  });
  const answers = await session.answer(tasks, ALL_AT_ONCE);
  for (const [i, { logits }] of rows.entries()) {
    await group.check(`row ${i}`, () => compareRows(logits, answers[i]!.rows, options.precision.tolerance));
  }
}

function compareBatched({ vector, alone }: AnsweredPrompt, batched: Answer, tolerance: number): Outcome {
  const promptLen = vector.prompt.length;
  const count = comparableRowCount(promptLen, alone, batched);
  return worstOf([
    compareRows(vector.logits, batched.rows.slice(0, promptLen), tolerance),
    compareRows(alone.rows.slice(0, count), batched.rows.slice(0, count), tolerance),
    compareGreedy(vector, batched, tolerance),
  ]);
}
