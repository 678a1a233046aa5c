/** A small LoRA adapter of the demo model, whole or spoiled in one chosen place. */

/** Hidden size of the demo model, and width of its query projection. */
export const WIDTH = 256;
export const RANK = 2;
const SITE = 'model.layers.0.self_attn.q_proj';

export const CONFIG = 'adapter_config.json';
export const WEIGHTS = 'adapter_model.safetensors';
export const A = `base_model.model.${SITE}.lora_A.weight`;
export const B = `base_model.model.${SITE}.lora_B.weight`;

export function loraConfig(fields: Readonly<Record<string, unknown>> = {}): string {
  return JSON.stringify({
    peft_type: 'LORA',
    base_model_name_or_path: 'lorax-demo/base',
    r: RANK,
    lora_alpha: 4,
    target_modules: [SITE],
    ...fields,
  });
}

export interface HeaderEntry {
  readonly dtype: string;
  readonly shape: unknown;
  readonly data_offsets: unknown;
}

export function entry(shape: unknown, begin: unknown, end: unknown, dtype = 'F32'): HeaderEntry {
  return { dtype, shape, data_offsets: [begin, end] };
}

/** Bytes of A and of B. */
export const HALF = RANK * WIDTH * 4;

export const SOUND_HEADER: Readonly<Record<string, HeaderEntry>> = {
  [A]: entry([RANK, WIDTH], 0, HALF),
  [B]: entry([WIDTH, RANK], HALF, 2 * HALF),
};

/** A file with any header and any data behind it. */
export function safetensors(header: unknown, data: Uint8Array = values()): Buffer {
  const json = Buffer.from(typeof header === 'string' ? header : JSON.stringify(header));
  return Buffer.concat([headerLength(BigInt(json.length)), json, data]);
}

export function headerLength(bytes: bigint): Buffer {
  const prefix = Buffer.alloc(8);
  prefix.writeBigUInt64LE(bytes);
  return prefix;
}

/** Small numbers for A and B, except for those given by their index. */
export function values(others: Readonly<Record<number, number>> = {}): Buffer {
  const numbers = Float32Array.from({ length: 2 * RANK * WIDTH }, (_, i) => ((i % 7) - 3) / 100);
  for (const [index, value] of Object.entries(others)) numbers[Number(index)] = value;
  return Buffer.from(numbers.buffer);
}

export const SOUND_WEIGHTS = safetensors(SOUND_HEADER);
