/** Says in words how a tensor fails to fit its place: another rank, another vocabulary, or just other sizes. */

import type { AdapterSite } from '../site.ts';

/** The layers that make logits, by the names transformers gives them. */
export const OUTPUT_LAYERS: ReadonlySet<string> = new Set(['lm_head', 'embed_out']);

export interface WantedShape {
  readonly shape: readonly number[];
  /** Index of the dimension that is the rank, where one is. */
  readonly rankAxis?: number;
}

/** Undefined where the shapes are equal. */
export function shapeFault(site: AdapterSite, actual: readonly number[], wanted: WantedShape): string | undefined {
  const { shape, rankAxis } = wanted;
  const differs = (axis: number): boolean => actual[axis] !== shape[axis];
  if (actual.length === shape.length && !shape.some((_, axis) => differs(axis))) return undefined;
  const sizes = `its shape is [${actual.join(', ')}], needed is [${shape.join(', ')}]`;
  if (actual.length !== shape.length) return sizes;
  if (rankAxis !== undefined && differs(rankAxis)) {
    return `its rank is ${actual[rankAxis]}, the configuration says ${shape[rankAxis]} for this module`;
  }
  const hasOtherVocabulary = shape.some((len, axis) => len === vocabularyLen(site) && differs(axis));
  return hasOtherVocabulary ? `${sizes}: the adapter was trained with a vocabulary of another size` : sizes;
}

function vocabularyLen({ kind, path, inFeatures, outFeatures }: AdapterSite): number | undefined {
  if (kind === 'embedding') return inFeatures;
  return OUTPUT_LAYERS.has(path) ? outFeatures : undefined;
}
