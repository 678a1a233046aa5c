/**
 * Reads the names that PEFT has given to an adapter's tensors over the years: with and without an adapter's name, with
 * and without `.weight` behind a magnitude, under `modules_to_save` or in the module's own place. Knows no model.
 */

/** What a tensor is to its module; `weight` and `bias` are the base module's own. */
export type LoraPart = 'a' | 'b' | 'loraBias' | 'embeddingA' | 'embeddingB' | 'magnitude' | 'weight' | 'bias';

export interface LoraTensorName {
  /** Path of the module in the base model. */
  readonly path: string;
  readonly part: LoraPart;
  /** PEFT leaves it out when it saves; state dicts saved by other means keep it. */
  readonly adapterName: string | undefined;
}

const PREFIX = 'base_model.model.';

/** The first that matches counts: the base module's own names come last. */
const SPELLINGS: readonly (readonly [LoraPart, RegExp])[] = [
  ['a', /^(.+)\.lora_A(?:\.([^.]+))?\.weight$/],
  ['b', /^(.+)\.lora_B(?:\.([^.]+))?\.weight$/],
  ['loraBias', /^(.+)\.lora_B(?:\.([^.]+))?\.bias$/],
  ['embeddingA', /^(.+)\.lora_embedding_A(?:\.([^.]+))?$/],
  ['embeddingB', /^(.+)\.lora_embedding_B(?:\.([^.]+))?$/],
  ['magnitude', /^(.+)\.lora_magnitude_vector(?:\.([^.]+?))??(?:\.weight)?$/],
  ['weight', /^(.+)\.modules_to_save(?:\.([^.]+))?\.weight$/],
  ['bias', /^(.+)\.modules_to_save(?:\.([^.]+))?\.bias$/],
  ['weight', /^(.+?)(?:\.base_layer)?\.weight$/],
  ['bias', /^(.+?)(?:\.base_layer)?\.bias$/],
];

/** Undefined where the name is none of PEFT's. */
export function parseLoraTensorName(name: string): LoraTensorName | undefined {
  const inModel = name.startsWith(PREFIX) ? name.slice(PREFIX.length) : name;
  for (const [part, spelling] of SPELLINGS) {
    const match = spelling.exec(inModel);
    if (match?.[1] !== undefined) return { path: match[1], part, adapterName: match[2] };
  }
  return undefined;
}

/** As PEFT would write it today, for messages about tensors that are not there. */
export function loraTensorName(path: string, part: LoraPart): string {
  return `${PREFIX}${path}.${TODAY[part]}`;
}

const TODAY: Readonly<Record<LoraPart, string>> = {
  a: 'lora_A.weight',
  b: 'lora_B.weight',
  loraBias: 'lora_B.bias',
  embeddingA: 'lora_embedding_A',
  embeddingB: 'lora_embedding_B',
  magnitude: 'lora_magnitude_vector',
  weight: 'weight',
  bias: 'bias',
};
