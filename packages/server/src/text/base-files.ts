/**
 * Reads the tokenizer files of the served model's folder, which are the operator's own. Knows nothing about encoding or
 * rendering.
 */
import { readFile } from 'node:fs/promises';
import { basename, extname, join } from 'node:path';
import { LoraxError } from '../base/errors.ts';
import type { JsonObject } from '../weights/strict-json.ts';
import {
  parseObject,
  parseSettings,
  parseText,
  parseTokenizer,
  SETTINGS_FILES,
  type SettingsFile,
  type SettingsFiles,
  TextFileError,
  type TokenizerFiles,
  type TokenizerSettings,
} from './tokenizer-files.ts';

export interface BaseFiles extends TokenizerFiles {
  /** As they lie in the folder. */
  readonly tokenizerBytes: Uint8Array;
  readonly settingsFiles: SettingsFiles;
  /** What the folder says, also where the operator says something else. */
  readonly written: TokenizerSettings;
}

/**
 * `overridePath` is a tokenizer_config.json whose entries replace the folder's, or a file that holds nothing but a chat
 * template. Throws `MODEL_INVALID`, naming the file.
 */
export function readTokenizerFiles(folder: string, overridePath?: string): Promise<BaseFiles> {
  return asModelErrors(basename(folder), async () => {
    const tokenizerBytes = await readRequired(join(folder, 'tokenizer.json'));
    const settingsFiles = await readSettingsFiles(folder);
    const written = parseSettings(settingsFiles);
    const settings =
      overridePath === undefined ? written : parseSettings(settingsFiles, await readOverride(overridePath));
    return { ...settings, tokenizer: parseTokenizer(tokenizerBytes), tokenizerBytes, settingsFiles, written };
  });
}

/** What is wrong with the served model's files, as an error of the start. */
export async function asModelErrors<T>(modelId: string, work: () => T | Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (!(error instanceof TextFileError)) throw error;
    throw new LoraxError('MODEL_INVALID', { modelId, reason: error.message }, { cause: error });
  }
}

async function readSettingsFiles(folder: string): Promise<SettingsFiles> {
  const files: Partial<Record<SettingsFile, Uint8Array>> = {};
  for (const name of Object.keys(SETTINGS_FILES) as SettingsFile[]) {
    const bytes = await read(join(folder, name));
    if (bytes !== undefined) files[name] = bytes;
  }
  return files;
}

async function readOverride(path: string): Promise<JsonObject> {
  const bytes = await readRequired(path);
  return extname(path) === '.json'
    ? parseObject(basename(path), bytes)
    : { chat_template: parseText(basename(path), bytes) };
}

async function readRequired(path: string): Promise<Uint8Array> {
  const bytes = await read(path);
  if (bytes === undefined) throw new TextFileError(basename(path), 'the file is missing');
  return bytes;
}

async function read(path: string): Promise<Uint8Array | undefined> {
  try {
    return await readFile(path);
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined;
    throw new TextFileError(basename(path), 'the file cannot be read', { cause: error });
  }
}
