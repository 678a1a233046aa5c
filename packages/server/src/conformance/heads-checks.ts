/** Draft heads against the reference: each adapter's own, and the rows of all of them in one draft. */

import type { LoadedAdapter } from '../adapters/adapter-loader.ts';
import { oneSlot, type StepSegment } from '../backend/step.ts';
import { present } from '../base/assert.ts';
import type { MedusaModel } from '../layers/medusa/medusa-model.ts';
import type { FolderCase } from './cases.ts';
import type { CheckedModel } from './checked-model.ts';
import { compareRows } from './comparison.ts';
import type { CheckGroup, Report } from './report.ts';
import { readHeadsVectors, type HeadsVector } from './vectors.ts';

interface LoadedHeads {
  readonly adapter: FolderCase;
  readonly loaded: LoadedAdapter;
  readonly heads: MedusaModel;
  readonly vectors: readonly HeadsVector[];
}

export async function checkHeads(checked: CheckedModel, report: Report): Promise<void> {
  const { model, options, session } = checked;
  if (model.heads.length === 0) return;
  const loaded: LoadedHeads[] = [];
  try {
    for (const adapter of model.heads) {
      await report.group(`${options.precision.dtype} ${adapter.name}`, async (group) => {
        const one = await load(checked, adapter);
        loaded.push(one);
        for (const i of one.vectors.keys()) await checkTogether(checked, [one], i, group);
      });
    }
    await report.group(`${options.precision.dtype} ${model.name}: all heads in one draft`, async (group) => {
      for (const i of loaded[0]?.vectors.keys() ?? []) await checkTogether(checked, loaded, i, group);
    });
  } finally {
    for (const { loaded: adapter } of loaded) session.unloadAdapter(adapter.slot);
  }
}

async function load({ model, session }: CheckedModel, adapter: FolderCase): Promise<LoadedHeads> {
  const loaded = await session.load(adapter.folder, adapter.name);
  const heads = present(loaded.heads, `draft heads of ${adapter.name}`);
  return { adapter, loaded, heads, vectors: readHeadsVectors(adapter.folder, model.folder) };
}

/** Prompt `i` with each of the adapters, all in one step and one draft. */
async function checkTogether(
  { session, options }: CheckedModel,
  adapters: readonly LoadedHeads[],
  i: number,
  group: CheckGroup,
): Promise<void> {
  const segments: StepSegment[] = [];
  let firstCell = 0;
  for (const { loaded, vectors } of adapters) {
    const { prompt } = vectors[i]!;
    const adapted = oneSlot(loaded.slot);
    segments.push({ tokens: prompt, position: 0, firstCell, adapters: adapted, outputCount: prompt.length });
    firstCell += prompt.length;
  }
  const models = adapters.map(({ heads }) => heads);
  const answers = await group.attempt(`prompt ${i}`, () => session.guess(segments, models));
  for (const [at, { adapter, vectors }] of adapters.entries()) {
    const { logits, guesses } = vectors[i]!;
    const { tolerance } = options.precision;
    const what = adapters.length > 1 ? `prompt ${i} of ${adapter.name}` : `prompt ${i}`;
    await group.check(`${what}: logits`, () => compareRows(logits, answers?.[at]?.logits ?? [], tolerance));
    await group.check(`${what}: guesses`, () => compareRows(guesses, answers?.[at]?.guesses ?? [], tolerance));
  }
}
