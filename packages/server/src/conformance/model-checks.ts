/**
 * One model of the set in one precision: loaded, then its base, each adapter and each merge alone against the reference,
 * then all of them together.
 */

import { oneSlot, type WeightedSlot } from '../backend/step.ts';
import { checkBatches, checkMixedBatch } from './batch-checks.ts';
import { ALL_AT_ONCE } from './batch-run.ts';
import type { FolderCase, ModelCase } from './cases.ts';
import type { AnsweredPrompt, CheckedModel } from './checked-model.ts';
import { compareGreedy, compareRows, worstOf, type Outcome } from './comparison.ts';
import { EngineSession, type SessionOptions } from './engine-session.ts';
import { checkHeads } from './heads-checks.ts';
import { checkOtherForms } from './loading-checks.ts';
import { mergedSlots } from './merged-slots.ts';
import type { CheckGroup, Report } from './report.ts';
import { readVectors } from './vectors.ts';

/** One token a step, a few that end inside every prompt, and as many as a short window. */
const CHUNK_LENS = [1, 7, 16];

export async function checkModel(model: ModelCase, options: SessionOptions, report: Report): Promise<void> {
  const name = `${options.precision.dtype} ${model.name}`;
  const session = await report.group(`${name}: loading`, (group) => openChecked(model, options, group));
  if (session === undefined) return;
  const checked: CheckedModel = { model, options, session, adapters: new Map(), answered: [] };
  try {
    const { base, adapters, mixedBatch } = model;
    if (base) await report.group(name, (group) => checkAlone(checked, base, [], group));
    for (const adapter of adapters) {
      await report.group(`${options.precision.dtype} ${adapter.name}`, (group) =>
        checkAdapter(checked, adapter, group),
      );
    }
    for (const merge of model.merges) {
      await report.group(`${options.precision.dtype} ${merge.name}`, async (group) =>
        checkAlone(checked, merge, await mergedSlots(checked, merge), group),
      );
    }
    await report.group(`${name}: batches`, (group) => checkBatches(checked, group));
    await checkHeads(checked, report);
    if (mixedBatch) await report.group(`${name}: mixed_batch`, (group) => checkMixedBatch(checked, mixedBatch, group));
  } finally {
    for (const slot of checked.adapters.values()) session.unloadAdapter(slot);
    session.dispose();
  }
}

async function openChecked(
  model: ModelCase,
  options: SessionOptions,
  group: CheckGroup,
): Promise<EngineSession | undefined> {
  const session = await EngineSession.open(options);
  if (model.base) await group.attempt('other forms', () => checkOtherForms(session, options, group));
  return session;
}

async function checkAdapter(checked: CheckedModel, adapter: FolderCase, group: CheckGroup): Promise<void> {
  const slot = await checked.session.loadAdapter(adapter.folder, adapter.name);
  checked.adapters.set(adapter.name, slot);
  await checkAlone(checked, adapter, oneSlot(slot), group);
}

async function checkAlone(
  checked: CheckedModel,
  { name, folder }: FolderCase,
  adapters: readonly WeightedSlot[],
  group: CheckGroup,
): Promise<void> {
  const { session, options, answered } = checked;
  const { tolerance } = options.precision;
  for (const [i, vector] of readVectors(folder).entries()) {
    const { prompt, greedy, logits } = vector;
    const task = { prompt, newTokenCount: greedy.length, adapters, isReduced: true };
    const alone = await group.attempt(`prompt ${i}`, () => session.answerOne(task, ALL_AT_ONCE));
    if (alone === undefined) continue;
    const asked: AnsweredPrompt = { name: `${name} prompt ${i}`, index: i, vector, adapters, alone };
    answered.push(asked);
    await group.check(`prompt ${i}: logits`, () => compareRows(logits, alone.rows.slice(0, prompt.length), tolerance));
    await group.check(`prompt ${i}: greedy tokens`, () => compareGreedy(vector, alone, tolerance));
    for (const chunkLen of CHUNK_LENS) {
      await group.check(`prompt ${i}: chunks of ${chunkLen}`, () => compareChunked(checked, asked, chunkLen));
    }
  }
}

/** The prompt with its greedy tokens as one longer prompt gives the same logits, in chunks, as it gave step by step. */
async function compareChunked(
  { session, options }: CheckedModel,
  { vector, adapters, alone }: AnsweredPrompt,
  chunkLen: number,
): Promise<Outcome> {
  const { tolerance } = options.precision;
  const prompt = [...vector.prompt, ...alone.tokens.slice(0, -1)];
  const pace = { ...ALL_AT_ONCE, prefillBudget: chunkLen };
  const { rows } = await session.answerOne({ prompt, newTokenCount: 1, adapters, isReduced: true }, pace);
  return worstOf([
    compareRows(vector.logits, rows.slice(0, vector.prompt.length), tolerance),
    compareRows(alone.rows, rows, tolerance),
  ]);
}
