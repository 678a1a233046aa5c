/**
 * The form of the files that make a tokenizer: tokenizer.json, tokenizer_config.json, special_tokens_map.json and the
 * files of chat templates. Checks it on their bytes; knows neither folders nor what the contents do.
 */
import { z } from 'zod';
import { isJsonObject, type JsonObject } from '../weights/strict-json.ts';

const flag = z.boolean().default(false);
const addedTokenBody = {
  content: z.string(),
  single_word: flag,
  lstrip: flag,
  rstrip: flag,
  normalized: z.boolean().optional(),
  special: flag,
};
const tokenId = z.int().nonnegative();

const tokenizerJson = z.looseObject({
  added_tokens: z.array(z.object({ id: tokenId, ...addedTokenBody })).default([]),
  normalizer: z.unknown(),
  pre_tokenizer: z.unknown(),
  post_processor: z.unknown(),
  decoder: z.unknown(),
  model: z.looseObject({
    type: z.string().optional(),
    unk_token: z.string().nullish(),
    unk_id: tokenId.nullish(),
    byte_fallback: z.boolean().nullish(),
    continuing_subword_prefix: z.string().nullish(),
    end_of_word_suffix: z.string().nullish(),
  }),
});
export type TokenizerJson = z.infer<typeof tokenizerJson>;

/** A token is written as its text or as an object that holds it. */
const tokenText = z.union([z.string(), z.object({ content: z.string() }).transform((token) => token.content)]);
const templates = z.union([
  z.string().transform((template) => ({ default: template })),
  z
    .array(z.object({ name: z.string(), template: z.string() }))
    .transform((list) => Object.fromEntries(list.map(({ name, template }) => [name, template]))),
  z.record(z.string(), z.string()),
]);

const templateJson = z.object({ chat_template: templates.nullish() });

export const NAMED_TOKENS = [
  'bos_token',
  'eos_token',
  'unk_token',
  'sep_token',
  'pad_token',
  'cls_token',
  'mask_token',
] as const;

const tokenizerConfig = z.object({
  tokenizer_class: z.string().nullish(),
  bos_token: tokenText.nullish(),
  eos_token: tokenText.nullish(),
  unk_token: tokenText.nullish(),
  sep_token: tokenText.nullish(),
  pad_token: tokenText.nullish(),
  cls_token: tokenText.nullish(),
  mask_token: tokenText.nullish(),
  additional_special_tokens: z.array(tokenText).nullish(),
  extra_special_tokens: z.union([z.array(tokenText), z.record(z.string(), tokenText)]).nullish(),
  add_bos_token: z.boolean().nullish(),
  add_eos_token: z.boolean().nullish(),
  clean_up_tokenization_spaces: z.boolean().nullish(),
  added_tokens_decoder: z.record(z.string(), z.object(addedTokenBody)).nullish(),
  chat_template: templates.nullish(),
});
export type TokenizerConfig = z.infer<typeof tokenizerConfig>;

/** Everything beside tokenizer.json. */
export interface TokenizerSettings {
  readonly config: TokenizerConfig;
  /** Chat templates by name; the usual one is `default`. */
  readonly chatTemplates: Readonly<Record<string, string>>;
}

export interface TokenizerFiles extends TokenizerSettings {
  readonly tokenizer: TokenizerJson;
}

/** The files of a folder that say how its texts are written, by name; those that it does not have are missing. */
export type SettingsFiles = Readonly<Partial<Record<SettingsFile, Uint8Array>>>;
export type SettingsFile = keyof typeof SETTINGS_FILES;

/** With what each of them may hold. Those that list thousands of added tokens have some megabytes. */
export const SETTINGS_FILES = {
  'tokenizer_config.json': 8 << 20,
  'special_tokens_map.json': 8 << 20,
  'chat_template.json': 1 << 20,
  'chat_template.jinja': 1 << 20,
  'additional_chat_templates/tool_use.jinja': 1 << 20,
} as const;

/** A file that is not what it should be; the message begins with its name. */
export class TextFileError extends Error {
  constructor(file: string, problem: string, options?: ErrorOptions) {
    super(`${file}: ${problem}`, options);
    this.name = 'TextFileError';
  }
}

/** Throws a `TextFileError`. */
export function parseTokenizer(bytes: Uint8Array): TokenizerJson {
  const parsed = tokenizerJson.safeParse(parseObject('tokenizer.json', bytes));
  if (!parsed.success)
    throw new TextFileError('tokenizer.json', describeProblem(parsed.error), { cause: parsed.error });
  return parsed.data;
}

/** `override` stands over tokenizer_config.json and all templates. Throws a `TextFileError`. */
export function parseSettings(files: SettingsFiles, override: JsonObject = {}): TokenizerSettings {
  const own = parseOptional('tokenizer_config.json', files['tokenizer_config.json']);
  const map = parseOptional('special_tokens_map.json', files['special_tokens_map.json']);
  const beside = override['chat_template'] === undefined ? besideTemplates(files) : {};
  const parsed = tokenizerConfig.safeParse({ ...map, ...own, ...override });
  if (!parsed.success) {
    throw new TextFileError('tokenizer_config.json', describeProblem(parsed.error), { cause: parsed.error });
  }
  return { config: parsed.data, chatTemplates: { ...parsed.data.chat_template, ...beside } };
}

/** Newer folders keep templates in files of their own, which count more than those in tokenizer_config.json. */
function besideTemplates(files: SettingsFiles): Readonly<Record<string, string>> {
  const parsed = templateJson.safeParse(parseOptional('chat_template.json', files['chat_template.json']));
  if (!parsed.success) {
    throw new TextFileError('chat_template.json', describeProblem(parsed.error), { cause: parsed.error });
  }
  const usual = files['chat_template.jinja'];
  const withTools = files['additional_chat_templates/tool_use.jinja'];
  return {
    ...parsed.data.chat_template,
    ...(usual && { default: parseText('chat_template.jinja', usual) }),
    ...(withTools && { tool_use: parseText('tool_use.jinja', withTools) }),
  };
}

function parseOptional(file: string, bytes: Uint8Array | undefined): JsonObject {
  return bytes === undefined ? {} : parseObject(file, bytes);
}

/** Throws a `TextFileError`. */
export function parseObject(file: string, bytes: Uint8Array): JsonObject {
  const text = parseText(file, bytes);
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new TextFileError(file, 'the file is not valid JSON', { cause: error });
  }
  if (!isJsonObject(value)) throw new TextFileError(file, 'the file does not hold a JSON object');
  return value;
}

/** Throws a `TextFileError`. */
export function parseText(file: string, bytes: Uint8Array): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch (error) {
    throw new TextFileError(file, 'the file is not UTF-8', { cause: error });
  }
}

/** One line that says what is wrong with outside data, for the `reason` of an error. */
export function describeProblem(error: unknown): string {
  if (!(error instanceof z.ZodError)) return error instanceof Error ? error.message : String(error);
  const issue = error.issues[0];
  return issue === undefined ? error.message : `${issue.path.join('.') || 'the top level'}: ${issue.message}`;
}
