/** What enters the rows of a merge: its members as they are resident for `cat`, a new resident adapter otherwise. */

import { mergeAdapters } from '../adapters/merging/merge.ts';
import { checkMergeable, type MergeMember } from '../adapters/merging/mergeable.ts';
import { oneSlot, type WeightedSlot } from '../backend/step.ts';
import type { FolderCase } from './cases.ts';
import type { CheckedModel } from './checked-model.ts';
import { readMerge } from './merge-vectors.ts';

/** None of the strategies that are compared draws anything. */
const NO_SEED = 0n;

/** The members must have been checked before; a new adapter is unloaded with them. */
export async function mergedSlots(checked: CheckedModel, { name, folder }: FolderCase): Promise<WeightedSlot[]> {
  const { session, adapters } = checked;
  const { adapters: names, weights, recipe } = readMerge(folder);
  const members = await Promise.all(names.map((id, i) => readMember(checked, id, weights[i] ?? NaN)));
  if (recipe.strategy === 'cat') {
    checkMergeable(members, recipe);
    return names.flatMap((id, i) => oneSlot(adapters.get(id)).map((slot) => ({ ...slot, weight: weights[i] ?? NaN })));
  }
  const tensors = await mergeAdapters(members, recipe, NO_SEED, new AbortController().signal);
  const slot = await session.placeAdapter(tensors);
  adapters.set(name, slot);
  return [...oneSlot(slot)];
}

async function readMember(
  { model, session, adapters }: CheckedModel,
  id: string,
  weight: number,
): Promise<MergeMember> {
  const found = model.adapters.find(({ name }) => name === id);
  if (found === undefined || !adapters.has(id)) throw new Error(`its member ${id} is not loaded`);
  return { id, weight, tensors: await session.readAdapter(found.folder, id) };
}
