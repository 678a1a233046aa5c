/** A Medusa adapter's configuration: its `config.json`. Knows which heads there are, not their tensors. */

import { z } from 'zod';
import { shown } from '../../weights/file-fault.ts';
import { parseJsonObject } from '../../weights/strict-json.ts';
import { openHeadTensors } from '../../weights/tensor-folder.ts';
import type { TensorFile } from '../../weights/tensor-view.ts';
import { adapterInvalid } from '../adapter-invalid.ts';
import type { AdapterConfig, AdapterTarget, BatchType, MappedAdapter } from '../adapter-config.ts';
import type { BaseCheck, NamedBase } from '../base-check.ts';
import { MedusaWeights, type DraftableModel } from './medusa-weights.ts';

/** More heads than anybody has trained; each costs a row of verification. */
const MAX_HEADS = 32;
const MAX_LAYERS = 16;

const FIELDS = z.looseObject({
  medusa_num_heads: z.int().min(1).max(MAX_HEADS),
  medusa_num_layers: z.int().min(1).max(MAX_LAYERS).default(1),
  version: z
    .union([z.number(), z.string().regex(/^\d+(\.\d+)?$/)])
    .transform(Number)
    .default(1),
  base_model_name_or_path: z.string().nullish(),
});

export class MedusaConfig implements AdapterConfig {
  /** For messages and reports. */
  readonly adapterId: string;
  readonly headCount: number;
  /** Residual blocks of each head. */
  readonly layerCount: number;
  /** As the file says; which heads they are follows from their tensors. */
  readonly version: number;
  readonly base: NamedBase;

  private constructor(adapterId: string, fields: z.output<typeof FIELDS>) {
    this.adapterId = adapterId;
    this.headCount = fields.medusa_num_heads;
    this.layerCount = fields.medusa_num_layers;
    this.version = fields.version;
    const name = fields.base_model_name_or_path ?? undefined;
    this.base = { name, modelClass: undefined, modelLibrary: undefined };
  }

  /** Reads the bytes of a config.json. Throws ADAPTER_INVALID naming the field. */
  static parse(bytes: Uint8Array, adapterId: string): MedusaConfig {
    const parsed = FIELDS.safeParse(parseObject(bytes, adapterId));
    if (parsed.success) return new MedusaConfig(adapterId, parsed.data);
    const [issue] = parsed.error.issues;
    throw adapterInvalid(adapterId, `config.json: \`${shown(issue!.path.join('.'))}\` ${issue!.message}`);
  }

  /** LoRAX's name for how many tokens the heads guess ahead. */
  get speculativeTokens(): number {
    return this.headCount;
  }

  getBatchTypes(): readonly BatchType[] {
    return ['medusa'];
  }

  openTensors(folder: string): TensorFile {
    return openHeadTensors(folder);
  }

  /** LoRAX's name for the step from tensor names to heads. */
  mapWeightsForModel(tensors: TensorFile, model: DraftableModel, baseModel: BaseCheck): MedusaWeights {
    return MedusaWeights.map(this, tensors, model, baseModel);
  }

  mapAdapter(file: TensorFile, target: AdapterTarget, baseModel: BaseCheck): MappedAdapter {
    const { tensors: weights, shape, report } = this.mapWeightsForModel(file, target, baseModel);
    const batchTypes = this.getBatchTypes();
    return { batchTypes, tensors: { lowRank: [], replacements: [], weights }, heads: shape, report };
  }
}

function parseObject(bytes: Uint8Array, adapterId: string): Record<string, unknown> {
  try {
    return parseJsonObject(bytes);
  } catch (cause) {
    throw adapterInvalid(adapterId, 'config.json is not a JSON object', { cause });
  }
}
