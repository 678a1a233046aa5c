/** From the field `merged_adapters` to what is asked of the adapters. Knows neither tensors nor where adapters are. */

import { needsDensity } from '../adapters/merging/factor-method.ts';
import { type AdapterChoice, type AdapterReference, BASE_MODEL, type MergeRecipe } from '../base/adapter-reference.ts';
import { present } from '../base/assert.ts';
import { invalidField } from '../base/errors.ts';
import type { MergedAdaptersField } from './schemas/adapter.ts';

/** Finds what a member's id and its own source, if it has one, stand for. */
export type NamedAdapter = (id: string, source: string | undefined) => AdapterReference;

/** One id alone is that adapter as it is, as in LoRAX. Throws VALIDATION for lists that do not fit together. */
export function mergedChoice(field: MergedAdaptersField, named: NamedAdapter): AdapterChoice {
  const { ids, weights, sources } = field;
  checkIds(ids);
  checkLength('weights', weights, ids);
  checkLength('sources', sources, ids);
  const recipe = mergeRecipe(field);
  const references = ids.map((id, i) => named(id, sources?.[i]));
  if (references.length === 1) return present(references[0], 'the only member');
  return { members: references.map((reference, i) => ({ reference, weight: weights?.[i] ?? 1 })), recipe };
}

function checkIds(ids: readonly string[]): void {
  if (ids.includes('')) throw invalidField('merged_adapters.ids', 'must not have an empty id');
  if (ids.includes(BASE_MODEL)) throw invalidField('merged_adapters.ids', `must not have \`${BASE_MODEL}\``);
}

function checkLength(name: string, values: readonly unknown[] | null | undefined, ids: readonly string[]): void {
  if (values == null || values.length === ids.length) return;
  throw invalidField(`merged_adapters.${name}`, `has ${values.length} elements for ${ids.length} ids`);
}

/** A density is not refused where nothing is pruned: LoRAX's clients always send one. */
function mergeRecipe({ merge_strategy, density, majority_sign_method }: MergedAdaptersField): MergeRecipe {
  const strategy = merge_strategy ?? 'linear';
  const majoritySign = majority_sign_method ?? 'total';
  if (!needsDensity(strategy)) return { strategy, density: undefined, majoritySign };
  if (density == null) throw invalidField('merged_adapters.density', `is required by \`${strategy}\``);
  if (density === 0) throw invalidField('merged_adapters.density', `must be greater than 0: \`${strategy}\` prunes`);
  return { strategy, density, majoritySign };
}
