/**
 * What a folder of reference vectors holds: models with their adapters and merges, a mixed batch, tokenizers. Whatever is
 * not checked is named with the reason. Reads names and model types only.
 */

import { existsSync, readFileSync, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { MODEL_TYPES } from '../models/registry.ts';
import { incomparableMerge } from './merge-vectors.ts';

/** A folder of vectors, named by its path in the set: `llama`, `llama/all_r8`. */
export interface FolderCase {
  readonly name: string;
  readonly folder: string;
}

export interface ModelCase extends FolderCase {
  /** Undefined where the set has the model for its adapters' sake only. */
  readonly base: FolderCase | undefined;
  readonly adapters: readonly FolderCase[];
  /** Adapters with draft heads, alone or with LoRA; their prompts are the model's. */
  readonly heads: readonly FolderCase[];
  /** `merges`, of adapters of one model of a set. */
  readonly merges: readonly FolderCase[];
  /** `mixed_batch`, which belongs to one model of a set. */
  readonly mixedBatch: FolderCase | undefined;
}

export interface SkippedCase {
  readonly name: string;
  readonly reason: string;
}

export interface CaseSet {
  readonly models: readonly ModelCase[];
  readonly tokenizers: readonly FolderCase[];
  readonly skipped: readonly SkippedCase[];
}

/** The reference ran its merges and its mixed batch on this model. */
const LETTERED_MODEL = 'llama';

const NO_REFERENCE = 'there is no expected.json to compare with';

const KNOWN_FOLDERS = new Set(['models', 'adapters', 'merges', 'mixed_batch', 'tokenizers']);

/** Finds the cases below `root`; folders that are missing are none. */
export function findCases(root: string): CaseSet {
  const skipped: SkippedCase[] = [];
  const models: ModelCase[] = [];
  for (const name of listFolders(join(root, 'models'))) {
    const folder = join(root, 'models', name);
    const reason = unservedType(folder);
    if (reason === undefined) models.push(modelCase(root, name, skipped));
    else skipModel(root, name, reason, skipped);
  }
  const known = new Set(listFolders(join(root, 'models')));
  for (const name of listFolders(join(root, 'adapters'))) {
    if (!known.has(name)) skipAdapters(root, name, `models/${name} is not in the set`, skipped);
  }
  if (!models.some(({ name }) => name === LETTERED_MODEL)) {
    const names = listFolders(join(root, 'merges')).map((name) => `merges/${name}`);
    if (existsSync(join(root, 'mixed_batch'))) names.push('mixed_batch');
    for (const name of names) skipped.push({ name, reason: `its model ${LETTERED_MODEL} is not in the set` });
  }
  return { models, tokenizers: tokenizerCases(root, skipped), skipped: [...skipped, ...unknownFolders(root)] };
}

function modelCase(root: string, name: string, skipped: SkippedCase[]): ModelCase {
  const folder = join(root, 'models', name);
  const base = { name, folder };
  const hasReference = existsSync(join(folder, 'expected.json'));
  if (!hasReference) skipped.push({ name: `models/${name}`, reason: NO_REFERENCE });
  const found = listFolders(join(root, 'adapters', name)).map((adapter) => {
    return { name: `${name}/${adapter}`, folder: join(root, 'adapters', name, adapter) };
  });
  const compared = found.filter(({ name: adapter, folder: place }) => {
    const reason = incomparableAdapter(place, hasReference);
    if (reason !== undefined) skipped.push({ name: `adapters/${adapter}`, reason });
    return reason === undefined;
  });
  const [heads, adapters] = [compared.filter(hasHeads), compared.filter((adapter) => !hasHeads(adapter))];
  const mixed = { name: 'mixed_batch', folder: join(root, 'mixed_batch') };
  const mixedBatch = name === LETTERED_MODEL && existsSync(mixed.folder) ? mixed : undefined;
  const merges = name === LETTERED_MODEL ? mergeCases(root, skipped) : [];
  return { name, folder, base: hasReference ? base : undefined, adapters, heads, merges, mixedBatch };
}

function mergeCases(root: string, skipped: SkippedCase[]): FolderCase[] {
  return listFolders(join(root, 'merges')).flatMap((merge) => {
    const found = { name: `merges/${merge}`, folder: join(root, 'merges', merge) };
    const reason = existsSync(join(found.folder, 'expected.json')) ? incomparableMerge(found.folder) : NO_REFERENCE;
    if (reason !== undefined) skipped.push({ name: found.name, reason });
    return reason === undefined ? [found] : [];
  });
}

/** A config that cannot be read is for the loader to complain about. */
function unservedType(folder: string): string | undefined {
  const type = readObject(join(folder, 'config.json'))['model_type'];
  const isServed = typeof type !== 'string' || MODEL_TYPES.includes(type);
  return isServed ? undefined : `model_type ${type} is not served`;
}

function incomparableAdapter(folder: string, hasModelReference: boolean): string | undefined {
  if (!hasHeads({ folder })) return existsSync(join(folder, 'expected.json')) ? undefined : NO_REFERENCE;
  if (!existsSync(join(folder, 'expected.safetensors'))) return 'there is no expected.safetensors to compare with';
  return hasModelReference ? undefined : 'the prompts of its model are not in the set';
}

function hasHeads({ folder }: Pick<FolderCase, 'folder'>): boolean {
  return 'medusa_num_heads' in readObject(join(folder, 'config.json'));
}

function skipModel(root: string, name: string, reason: string, skipped: SkippedCase[]): void {
  skipped.push({ name: `models/${name}`, reason });
  skipAdapters(root, name, reason, skipped);
}

function skipAdapters(root: string, model: string, reason: string, skipped: SkippedCase[]): void {
  for (const name of listFolders(join(root, 'adapters', model))) {
    skipped.push({ name: `adapters/${model}/${name}`, reason });
  }
}

function tokenizerCases(root: string, skipped: SkippedCase[]): FolderCase[] {
  return listFolders(join(root, 'tokenizers')).flatMap((kind) => {
    const found = { name: `tokenizers/${kind}`, folder: join(root, 'tokenizers', kind) };
    if (existsSync(join(found.folder, 'expected.json'))) return [found];
    skipped.push({ name: found.name, reason: NO_REFERENCE });
    return [];
  });
}

/** Kinds of vectors that this suite does not know, each of their folders by name. */
function unknownFolders(root: string): SkippedCase[] {
  const unknown = listFolders(root).filter((name) => !KNOWN_FOLDERS.has(name));
  return unknown.flatMap((kind) => {
    const names = listFolders(join(root, kind)).map((name) => `${kind}/${name}`);
    return (names.length > 0 ? names : [kind]).map((name) => ({ name, reason: 'this suite knows no such vectors' }));
  });
}

function listFolders(folder: string): string[] {
  if (!isFolder(folder)) return [];
  return readdirSync(folder)
    .filter((name) => isFolder(join(folder, name)))
    .sort();
}

/** Links to folders are folders too. */
function isFolder(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isDirectory() === true;
}

function readObject(path: string): Record<string, unknown> {
  try {
    return Object(JSON.parse(readFileSync(path, 'utf8'))) as Record<string, unknown>;
  } catch {
    return {};
  }
}
