/**
 * What an adapter_config.json says, checked field by field: PEFT's defaults filled in, whatever would change the
 * mathematics in a way that is not implemented refused by name, fields nobody knows listed. Knows no model.
 */

import { z } from 'zod';
import { shown } from '../../weights/file-fault.ts';
import { parseJsonObject, type JsonObject } from '../../weights/strict-json.ts';
import { adapterInvalid } from '../adapter-invalid.ts';
import type { NamedBase } from '../base-check.ts';

export interface LoraSettings {
  readonly rank: number;
  readonly alpha: number;
  /** Rank-stabilised: scales by alpha / sqrt(rank) instead of alpha / rank. */
  readonly rsLora: boolean;
  /** Patterns and what they set, in the file's order: the first that matches a module counts. */
  readonly rankPattern: ReadonlyMap<string, number>;
  readonly alphaPattern: ReadonlyMap<string, number>;
  /** Module names, a regular expression, or undefined where the file leaves the choice to its tensors. */
  readonly targetModules: readonly string[] | string | undefined;
  readonly excludeModules: readonly string[] | string;
  /** Undefined: every layer. */
  readonly layersToTransform: ReadonlySet<number> | undefined;
  readonly layersPattern: readonly string[];
  readonly modulesToSave: readonly string[];
  readonly dora: boolean;
  /** B has a bias of its own. */
  readonly loraBias: boolean;
  readonly base: NamedBase;
  /** Fields with a value whose meaning is not known here. */
  readonly ignoredFields: readonly string[];
}

/** A rank per module of the largest models, twice over. */
const MAX_PATTERN_COUNT = 4096;
/** Each is compared with every module: enough for the names of a whole layer, several times over. */
const MAX_SAVED_COUNT = 256;
const MAX_FLOAT32 = 2 ** 128 - 2 ** 104;

/** Scales are computed with in float32. */
const alpha = z.number().min(-MAX_FLOAT32).max(MAX_FLOAT32);

const names = z.union([z.array(z.string()), z.string()]).nullish();
const flag = z.boolean().nullish();
const pattern = <T extends z.ZodType<number>>(value: T) =>
  z
    .record(z.string(), value)
    .refine((entries) => Object.keys(entries).length <= MAX_PATTERN_COUNT, `more than ${MAX_PATTERN_COUNT} patterns`)
    .nullish();

const FIELDS = z.looseObject({
  peft_type: z.literal('LORA'),
  r: z.int().min(1).nullish(),
  lora_alpha: alpha.nullish(),
  use_rslora: flag,
  rank_pattern: pattern(z.int().min(1)),
  alpha_pattern: pattern(alpha),
  target_modules: names,
  exclude_modules: names,
  layers_to_transform: z.union([z.int(), z.array(z.int())]).nullish(),
  layers_pattern: names,
  modules_to_save: z.array(z.string()).max(MAX_SAVED_COUNT).nullish(),
  use_dora: flag,
  lora_bias: flag,
  base_model_name_or_path: z.string().nullish(),
  auto_mapping: z
    .looseObject({ base_model_class: z.string().nullish(), parent_library: z.string().nullish() })
    .nullish(),
  init_lora_weights: z.union([z.boolean(), z.string()]).nullish(),
  // Checked, and then of no consequence: the tensors tell which biases were trained, and A and B have the same shapes
  // however the base keeps its weights.
  bias: z.enum(['none', 'all', 'lora_only']).nullish(),
  fan_in_fan_out: flag,
  revision: z.string().nullish(),
  task_type: z.string().nullish(),
});

type Fields = z.output<typeof FIELDS>;

/** Fields that change what an adapter computes. Served when they are off, refused when they are on. */
const UNSUPPORTED_FIELDS = [
  'alora_invocation_tokens',
  'arrow_config',
  'enable_lora',
  'kasa_config',
  'layer_replication',
  'megatron_config',
  'monteclora_config',
  'target_parameters',
  'trainable_token_indices',
  'use_bdlora',
  'use_qalora',
  'velora_config',
] as const;

/** Fields that matter to training only, or to fields that are off. */
const TRAINING_FIELDS = [
  'corda_config',
  'ensure_weight_tying',
  'eva_config',
  'inference_mode',
  'loftq_config',
  'lora_dropout',
  'lora_ga_config',
  'megatron_core',
  'peft_version',
  'qalora_group_size',
  'runtime_config',
] as const;

const KNOWN_FIELDS: ReadonlySet<string> = new Set([
  ...Object.keys(FIELDS.shape),
  ...UNSUPPORTED_FIELDS,
  ...TRAINING_FIELDS,
]);

/** Only where the factors start: the base model stays as it is. */
const HARMLESS_INIT = new Set(['gaussian', 'eva', 'orthogonal', 'mica']);
/** These take what the factors start with out of the base weights: the saved factors fit the changed base alone. */
const BASE_CHANGING_INIT = /^(?:pissa|corda|olora|loftq|lora_ga)/;

/** Throws ADAPTER_INVALID naming the field. */
export function parseLoraSettings(bytes: Uint8Array, adapterId: string): LoraSettings {
  const refuse = (reason: string, cause?: unknown): Error =>
    adapterInvalid(adapterId, `adapter_config.json: ${reason}`, { cause });
  const json = readJson(bytes, refuse);
  const parsed = FIELDS.safeParse(json);
  if (!parsed.success) throw refuse(faultOf(parsed.error, json));
  const reason = unsupported(json) ?? unsupportedInit(parsed.data.init_lora_weights) ?? contradiction(parsed.data);
  if (reason !== undefined) throw refuse(reason);
  const ignoredFields = Object.keys(json).filter((field) => !KNOWN_FIELDS.has(field) && isSet(json[field]));
  return toSettings(parsed.data, ignoredFields);
}

function readJson(bytes: Uint8Array, refuse: (reason: string, cause?: unknown) => Error): JsonObject {
  try {
    return parseJsonObject(bytes);
  } catch (error) {
    throw refuse('it is not a JSON object in UTF-8 without duplicate keys', error);
  }
}

function faultOf(error: z.ZodError, json: JsonObject): string {
  const issue = error.issues[0];
  const field = issue?.path.map(String).join('.') ?? '';
  if (field === 'peft_type') return `"peft_type" is ${shown(String(json['peft_type']))}, only LORA is served`;
  return `${shown(field)}: ${issue?.message ?? 'invalid'}`;
}

function unsupported(json: JsonObject): string | undefined {
  const field = UNSUPPORTED_FIELDS.find((name) => isOn(name, json[name]));
  return field === undefined ? undefined : `"${field}" is set, and what it asks for is not supported`;
}

/** PEFT asks whether these lists are empty, and of the other fields whether they are there. */
function isOn(field: string, value: unknown): boolean {
  if (field === 'target_parameters' || field === 'layer_replication') return isSet(value);
  return value !== undefined && value !== null && value !== false;
}

/** Whether a field says anything: null, false and empty values are how PEFT writes what was never asked for. */
function isSet(value: unknown): boolean {
  if (value === undefined || value === null || value === false || value === '') return false;
  return typeof value !== 'object' || Object.keys(value).length > 0;
}

function unsupportedInit(init: Fields['init_lora_weights']): string | undefined {
  if (typeof init !== 'string' || HARMLESS_INIT.has(init.toLowerCase())) return undefined;
  const field = `"init_lora_weights" is ${shown(init)}`;
  if (!BASE_CHANGING_INIT.test(init.toLowerCase())) return `${field}, which is not known here`;
  const remedy = 'save it as plain LoRA, with path_initial_model_for_weight_conversion of PEFT';
  return `${field}: it was trained on changed base weights; ${remedy}`;
}

/** Combinations that PEFT refuses as well. */
function contradiction(fields: Fields): string | undefined {
  const byExpression = typeof fields.target_modules === 'string';
  const byLayer = fields.layers_to_transform !== undefined && fields.layers_to_transform !== null;
  if (byExpression && byLayer) return '"layers_to_transform" needs "target_modules" to be a list';
  if (byExpression && isSet(fields.layers_pattern)) return '"layers_pattern" needs "target_modules" to be a list';
  if (isSet(fields.layers_pattern) && !byLayer) return '"layers_pattern" is set without "layers_to_transform"';
  if (fields.use_dora === true && fields.lora_bias === true) return '"use_dora" and "lora_bias" exclude each other';
  return undefined;
}

function toSettings(fields: Fields, ignoredFields: readonly string[]): LoraSettings {
  return {
    rank: fields.r ?? 8,
    alpha: fields.lora_alpha ?? 8,
    rsLora: fields.use_rslora ?? false,
    rankPattern: new Map(Object.entries(fields.rank_pattern ?? {})),
    alphaPattern: new Map(Object.entries(fields.alpha_pattern ?? {})),
    targetModules: fields.target_modules ?? undefined,
    excludeModules: fields.exclude_modules ?? [],
    layersToTransform: layerIndexes(fields.layers_to_transform),
    layersPattern: typeof fields.layers_pattern === 'string' ? [fields.layers_pattern] : (fields.layers_pattern ?? []),
    modulesToSave: fields.modules_to_save ?? [],
    dora: fields.use_dora ?? false,
    loraBias: fields.lora_bias ?? false,
    base: {
      name: fields.base_model_name_or_path || undefined,
      modelClass: fields.auto_mapping?.base_model_class || undefined,
      modelLibrary: fields.auto_mapping?.parent_library || undefined,
    },
    ignoredFields,
  };
}

/** PEFT takes an empty list for no restriction. */
function layerIndexes(field: Fields['layers_to_transform']): ReadonlySet<number> | undefined {
  if (field === undefined || field === null) return undefined;
  const layers = new Set(typeof field === 'number' ? [field] : field);
  return layers.size === 0 ? undefined : layers;
}
