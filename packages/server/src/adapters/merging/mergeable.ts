/** Which adapters can be merged in which way, and why not the others. Reads no values. */

import type { MergeRecipe, MergeStrategy } from '../../base/adapter-reference.ts';
import { invalidField } from '../../base/errors.ts';
import type { AdapterTensors, LowRankTensors } from '../../backend/adapters.ts';
import { factorMethod } from './factor-method.ts';

export interface MergeMember {
  /** As the caller named the adapter; for messages. */
  readonly id: string;
  readonly tensors: AdapterTensors;
  readonly weight: number;
}

export const MERGE_FIELD = 'merged_adapters';

/** Throws a VALIDATION error that names the adapter and the tensor or place that keeps it from being merged. */
export function checkMergeable(members: readonly MergeMember[], { strategy }: MergeRecipe): void {
  for (const { id, tensors } of members) {
    checkLowRankOnly(id, tensors);
    if (strategy !== 'cat') checkNoBias(id, tensors, strategy);
  }
  if (factorMethod(strategy) !== undefined) checkRanks(members, strategy);
}

/** What more than one member may have at a place cannot be added: each means to be the only one there. */
function checkLowRankOnly(id: string, { lowRank, replacements, weights }: AdapterTensors): void {
  if (weights.length > 0) throw refused(`cannot merge \`${id}\`: it has Medusa heads, which are no change of the base`);
  const [replacement] = replacements;
  const replacing = replacement?.weight ?? replacement?.bias;
  if (replacing !== undefined) {
    throw refused(`cannot merge \`${id}\`: its ${replacing.name} replaces a tensor of the base model`);
  }
  const dora = lowRank.find(({ magnitude }) => magnitude !== undefined);
  if (dora?.magnitude === undefined) return;
  throw refused(`cannot merge \`${id}\`: it is a DoRA adapter (${dora.magnitude.name}), whose effect is no sum`);
}

function checkNoBias(id: string, { lowRank }: AdapterTensors, strategy: MergeStrategy): void {
  const biased = lowRank.find(({ bias }) => bias !== undefined);
  if (biased?.bias === undefined) return;
  throw refused(`cannot merge \`${id}\` by \`${strategy}\`: it has a LoRA bias (${biased.bias.name}); \`cat\` can`);
}

function checkRanks(members: readonly MergeMember[], strategy: MergeStrategy): void {
  for (const [path, parts] of partsByPath(members)) {
    if (new Set(parts.map(({ factors }) => factors.rank)).size === 1) continue;
    const ranks = parts.map(({ member, factors }) => `\`${member.id}\` has ${factors.rank}`).join(', ');
    throw refused(`need equal ranks for \`${strategy}\`, but at ${path} ${ranks}; \`cat\` merges any ranks`);
  }
}

/** What one member has at one place. */
export interface MergePart {
  readonly member: MergeMember;
  readonly factors: LowRankTensors;
}

/** The members that have a place, for each place that any of them has. */
export function partsByPath(members: readonly MergeMember[]): Map<string, MergePart[]> {
  const byPath = new Map<string, MergePart[]>();
  for (const member of members) {
    for (const factors of member.tensors.lowRank) {
      const parts = byPath.get(factors.at.path) ?? [];
      byPath.set(factors.at.path, [...parts, { member, factors }]);
    }
  }
  return byPath;
}

function refused(reason: string): Error {
  return invalidField(MERGE_FIELD, reason);
}
