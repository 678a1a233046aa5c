/**
 * Follows a path link by link and stops at the first step out of a root folder, before anything outside is touched: what
 * exists out there cannot be told from the answer. Knows nothing about adapters' files.
 */

import { lstat, readlink, realpath } from 'node:fs/promises';
import { basename, isAbsolute, join, relative, resolve, sep } from 'node:path';

import { LoraxError } from '../base/errors.ts';

/** What Linux allows in one path; more means a circle. */
const MAX_LINKS = 40;

const MISSING_CODES: ReadonlySet<string> = new Set(['ENOENT', 'ENOTDIR', 'ENAMETOOLONG', 'EINVAL', 'ELOOP']);
const DENIED_CODES: ReadonlySet<string> = new Set(['EACCES', 'EPERM']);

export type Place =
  /** `path` is real: no part of it was a link when it was followed. */
  | { readonly kind: 'inside'; readonly path: string }
  /** Leads out of the root, or may not be looked at. */
  | { readonly kind: 'outside' }
  | { readonly kind: 'missing' };

/**
 * Where `path` (relative to the root, or absolute) leads. A link that passes through other folders is outside even when it
 * would come back; `..` in a link's target is taken literally, as if the parts before it were no links themselves.
 */
export async function locate(root: string, path: string): Promise<Place> {
  const realRoot = await realpath(root);
  // A link may name the root as the operator wrote it, which can itself be a link.
  const roots = [resolve(root), realRoot];
  let rest = partsInside(roots, resolve(root, path));
  let current = realRoot;
  for (let links = 0; rest !== undefined && links <= MAX_LINKS;) {
    const [part, ...others]: string[] = rest;
    if (part === undefined) return { kind: 'inside', path: current };
    const step = await followOne(join(current, part));
    if (typeof step === 'string') {
      links++;
      const target = partsInside(roots, resolve(current, step));
      rest = target && [...target, ...others];
      current = realRoot;
    } else if (step === undefined) {
      current = join(current, part);
      rest = others;
    } else return step;
  }
  return { kind: rest === undefined ? 'outside' : 'missing' };
}

/**
 * The real path of a file or folder under `root`, for use right before it is opened. Between this check and the opening
 * somebody who may write in the root can still swap a folder for a link; the root must not be writable by strangers.
 * Throws ADAPTER_FORBIDDEN when the path leads out, FILE_INVALID when nothing is there.
 */
export async function checkContained(root: string, path: string, adapterId: string = basename(path)): Promise<string> {
  const place = await locate(root, path);
  if (place.kind === 'inside') return place.path;
  if (place.kind === 'outside') throw new LoraxError('ADAPTER_FORBIDDEN', { adapterId });
  throw new LoraxError('FILE_INVALID', { file: basename(path), reason: 'does not exist' });
}

/** The parts of an absolute, normalised path below one of the roots; undefined when it is below none. */
export function partsInside(roots: readonly string[], path: string): string[] | undefined {
  for (const root of roots) {
    const below = relative(root, path);
    if (below === '') return [];
    const parts = below.split(sep);
    if (!isAbsolute(below) && parts[0] !== '..') return parts;
  }
  return undefined;
}

/** A link's target, undefined for anything that is no link, or why the walk ends here. */
async function followOne(path: string): Promise<string | undefined | Place> {
  try {
    const found = await lstat(path);
    return found.isSymbolicLink() ? await readlink(path) : undefined;
  } catch (error) {
    const code = errorCode(error);
    if (MISSING_CODES.has(code)) return { kind: 'missing' };
    if (DENIED_CODES.has(code)) return { kind: 'outside' };
    throw error;
  }
}

/** `ENOENT` and the like; empty for errors that did not come from the system. */
export function errorCode(error: unknown): string {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : '';
}
