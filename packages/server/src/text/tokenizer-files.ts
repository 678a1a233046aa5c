/**
 * Reads a model folder's tokenizer files and checks their form: tokenizer.json, tokenizer_config.json,
 * special_tokens_map.json and chat_template.jinja. Knows nothing about encoding or rendering.
 */
import { readFile } from 'node:fs/promises';
import { basename, extname, join } from 'node:path';
import { z } from 'zod';
import { LoraxError } from '../base/errors.ts';

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

export interface TokenizerFiles {
  /** The folder's name, by which errors call the model. */
  readonly modelId: string;
  readonly tokenizer: TokenizerJson;
  readonly config: TokenizerConfig;
  /** Chat templates by name; the usual one is `default`. */
  readonly chatTemplates: Readonly<Record<string, string>>;
}

/**
 * `overridePath` is a tokenizer_config.json whose entries replace the folder's, or a file that holds nothing but a chat
 * template. Throws `MODEL_INVALID`, naming the file.
 */
export async function readTokenizerFiles(folder: string, overridePath?: string): Promise<TokenizerFiles> {
  const reader = new FolderReader(folder);
  const tokenizer = tokenizerJson.safeParse(await reader.json(join(folder, 'tokenizer.json'), true));
  if (!tokenizer.success) throw reader.invalid('tokenizer.json', describeProblem(tokenizer.error));
  const own = await reader.record(join(folder, 'tokenizer_config.json'));
  const override = await readOverride(reader, overridePath);
  const merged = { ...(await reader.record(join(folder, 'special_tokens_map.json'))), ...own, ...override };
  const config = tokenizerConfig.safeParse(merged);
  if (!config.success) throw reader.invalid('tokenizer_config.json', describeProblem(config.error));
  const beside = override['chat_template'] === undefined ? await besideTemplates(reader, folder) : {};
  return {
    modelId: reader.modelId,
    tokenizer: tokenizer.data,
    config: config.data,
    chatTemplates: { ...config.data.chat_template, ...beside },
  };
}

/** One line that says what is wrong with outside data, for the `reason` of an error. */
export function describeProblem(error: unknown): string {
  if (!(error instanceof z.ZodError)) return error instanceof Error ? error.message : String(error);
  const issue = error.issues[0];
  return issue === undefined ? error.message : `${issue.path.join('.') || 'the top level'}: ${issue.message}`;
}

async function readOverride(reader: FolderReader, path: string | undefined): Promise<Record<string, unknown>> {
  if (path === undefined) return {};
  if (extname(path) === '.json') return reader.record(path, true);
  return { chat_template: await reader.text(path, true) };
}

/** Newer folders keep templates in files of their own, which count more than those in tokenizer_config.json. */
async function besideTemplates(reader: FolderReader, folder: string): Promise<Record<string, string>> {
  const usual = await reader.text(join(folder, 'chat_template.jinja'));
  const withTools = await reader.text(join(folder, 'additional_chat_templates', 'tool_use.jinja'));
  return {
    ...(usual === undefined ? {} : { default: usual }),
    ...(withTools === undefined ? {} : { tool_use: withTools }),
  };
}

class FolderReader {
  readonly modelId: string;

  constructor(folder: string) {
    this.modelId = basename(folder);
  }

  async text(path: string, required = false): Promise<string | undefined> {
    try {
      return await readFile(path, 'utf8');
    } catch (error) {
      const missing = error instanceof Error && 'code' in error && error.code === 'ENOENT';
      if (missing && !required) return undefined;
      throw this.invalid(basename(path), missing ? 'the file is missing' : 'the file cannot be read', error);
    }
  }

  async json(path: string, required = false): Promise<unknown> {
    const text = await this.text(path, required);
    if (text === undefined) return undefined;
    try {
      return JSON.parse(text);
    } catch (error) {
      throw this.invalid(basename(path), 'the file is not valid JSON', error);
    }
  }

  async record(path: string, required = false): Promise<Record<string, unknown>> {
    const parsed = z.record(z.string(), z.unknown()).safeParse((await this.json(path, required)) ?? {});
    if (!parsed.success) throw this.invalid(basename(path), 'the file does not hold a JSON object', parsed.error);
    return parsed.data;
  }

  invalid(file: string, problem: string, cause?: unknown): LoraxError {
    return new LoraxError('MODEL_INVALID', { modelId: this.modelId, reason: `${file}: ${problem}` }, { cause });
  }
}
