/** Which files of a repository or folder belong to an adapter or a base model, by name alone. Opens nothing. */

const TOKENIZER_FILES: ReadonlySet<string> = new Set([
  'tokenizer.json',
  'tokenizer_config.json',
  'tokenizer.model',
  'special_tokens_map.json',
  'added_tokens.json',
  'vocab.json',
  'merges.txt',
  'chat_template.jinja',
  'chat_template.json',
]);

/** Only names at the root of a repository, and none that could mean another place. */
const ROOT_NAME = /^\w[\w.-]*$/;
/** What trainers leave beside the weights (optimizer states, pickled arguments). */
const LEFTOVER = /arguments|args|training/;
const WHOLE_MODEL = /^(?:model|consolidated)\b.*\.safetensors$/;
const STANDARD_MODEL = /^model(?:-\d{5}-of-\d{5})?\.safetensors$/;
const SHARD = /^(.+)-(\d{5})-of-(\d{5})\.safetensors$/;
const INDEX = '.safetensors.index.json';
/** More than any adapter has, and little enough that a hostile listing costs nothing. */
const MAX_ADAPTER_FILES = 1000;

/** Files an adapter loader may read; a folder is refused when one of them is a link that leads out. */
export function isReadable(name: string): boolean {
  return /\.(?:safetensors|bin|json|jinja|model|txt)$/.test(name);
}

/**
 * Configuration and tokenizer files first, weights last. Safetensors win over `adapter_model.bin`; weights of a whole model
 * count only when there are no others (a Medusa adapter may call its file `model.safetensors`).
 */
export function adapterFiles(names: readonly string[]): readonly string[] {
  const configs = ['adapter_config.json', 'config.json', `adapter_model${INDEX}`];
  const safetensors = names.filter(isWeights);
  const own = safetensors.filter((name) => !WHOLE_MODEL.test(name));
  const pickled = names.filter((name) => name === 'adapter_model.bin');
  const weights = [own, pickled, safetensors].find((choice) => choice.length > 0) ?? [];
  return [...names.filter((name) => configs.includes(name) || TOKENIZER_FILES.has(name)), ...weights];
}

/** As `adapterFiles`. `model*.safetensors` win over other names: some repositories hold the weights twice. */
export function modelFiles(names: readonly string[]): readonly string[] {
  const configs = ['config.json', 'generation_config.json', `model${INDEX}`];
  const safetensors = names.filter(isWeights);
  const standard = safetensors.filter((name) => STANDARD_MODEL.test(name));
  const weights = standard.length > 0 ? standard : safetensors;
  return [...names.filter((name) => configs.includes(name) || TOKENIZER_FILES.has(name)), ...weights];
}

/** Why these names cannot be an adapter, or undefined. */
export function adapterFault(names: readonly string[]): string | undefined {
  const files = adapterFiles(names);
  if (files.length > MAX_ADAPTER_FILES) return `it has more than ${MAX_ADAPTER_FILES} files`;
  if (!files.includes('adapter_config.json') && !files.includes('config.json')) {
    return 'it holds neither adapter_config.json nor a config.json with medusa_num_heads';
  }
  if (!files.some((name) => isWeights(name) || name === 'adapter_model.bin')) {
    return 'it holds no weights (adapter_model.safetensors, its shards, or adapter_model.bin)';
  }
  return shardFault(files);
}

/** Why these names cannot be a base model, or undefined. */
export function modelFault(names: readonly string[]): string | undefined {
  const files = modelFiles(names);
  if (!files.includes('config.json')) return 'it holds no config.json';
  if (!files.some(isWeights)) return 'it holds no weights in safetensors files, and others are not read';
  return shardFault(files);
}

function isWeights(name: string): boolean {
  return ROOT_NAME.test(name) && name.endsWith('.safetensors') && !LEFTOVER.test(name);
}

function shardFault(names: readonly string[]): string | undefined {
  for (const name of names) {
    const [, stem, , count] = SHARD.exec(name) ?? [];
    if (stem === undefined || count === undefined) continue;
    const present = names.filter((other) => other.startsWith(`${stem}-`) && other.endsWith(`-of-${count}.safetensors`));
    if (present.length !== Number(count)) return `it holds ${present.length} of the ${Number(count)} shards of ${stem}`;
  }
  return undefined;
}
