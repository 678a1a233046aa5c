/**
 * Measures and removes what a snapshot takes on disk in the Hub cache's layout. Removes only links and blobs that it is
 * told to, and of these no blob that another snapshot still links to: Python may share the repository's folder.
 */

import { readFile, readdir, readlink, rm, rmdir, stat } from 'node:fs/promises';
import { basename, join } from 'node:path';

import { errorCode } from './containment.ts';
import type { LedgerFile } from './disk-ledger.ts';
import { TEMPORARY_SUFFIX } from './hub-cache.ts';
import { ifPresent } from './if-present.ts';

const PARTIAL_SUFFIX = /^\.[0-9a-f]{8}\.incomplete$/;

/** What is on disk for each of the blobs, whole or begun; blobs with nothing there are left out. */
export async function blobBytes(repoDir: string, blobs: Iterable<string>): Promise<ReadonlyMap<string, number>> {
  const found = new Map<string, number>();
  const names = await namesIn(join(repoDir, 'blobs'));
  for (const blob of blobs) {
    const own = names.filter((name) => name === blob || isPartialOf(name, blob));
    const sizes = await Promise.all(own.map((name) => ifPresent(stat(join(repoDir, 'blobs', name)))));
    const present = sizes.flatMap((size) => size ?? []);
    if (present.length > 0)
      found.set(
        blob,
        present.reduce((sum, { size }) => sum + size, 0),
      );
  }
  return found;
}

export async function isWhole(repoDir: string, { blob, sizeBytes }: LedgerFile): Promise<boolean> {
  return (await ifPresent(stat(join(repoDir, 'blobs', blob))))?.size === sizeBytes;
}

/** Removes the files' links, and those of their blobs that neither `kept` nor another snapshot needs. */
export async function removeFiles(
  repoDir: string,
  revision: string,
  files: readonly LedgerFile[],
  kept: ReadonlySet<string>,
): Promise<void> {
  const snapshotDir = join(repoDir, 'snapshots', revision);
  const links = await namesIn(snapshotDir);
  for (const { name, blob } of files) {
    for (const link of links.filter((other) => other === name || isLinkInMaking(other, name))) {
      const target = await ifPresent(readlink(join(snapshotDir, link)));
      if (target !== undefined && basename(target) === blob) await rm(join(snapshotDir, link), { force: true });
    }
  }
  await removeFolder(snapshotDir);
  const linked = await linkedBlobs(repoDir);
  const names = await namesIn(join(repoDir, 'blobs'));
  for (const blob of new Set(files.map((file) => file.blob))) {
    if (kept.has(blob) || linked.has(blob)) continue;
    for (const name of names.filter((other) => other === blob || isPartialOf(other, blob))) {
      await rm(join(repoDir, 'blobs', name), { force: true });
    }
  }
}

/** Removes the refs to a revision whose snapshot is gone: Python would call the cache damaged. */
export async function removeRefs(repoDir: string, revision: string): Promise<void> {
  const snapshot = await ifPresent(stat(join(repoDir, 'snapshots', revision)));
  if (snapshot === undefined) await removeRefsIn(join(repoDir, 'refs'), revision);
}

export async function removeEmptyFolders(repoDir: string): Promise<void> {
  for (const name of ['snapshots', 'blobs', '']) await removeFolder(join(repoDir, name));
}

async function removeRefsIn(dir: string, revision: string): Promise<void> {
  for (const entry of (await ifPresent(readdir(dir, { withFileTypes: true }))) ?? []) {
    const path = join(dir, entry.name);
    if (entry.isDirectory()) await removeRefsIn(path, revision);
    else if ((await ifPresent(readFile(path, 'utf8')))?.trim() === revision) await rm(path, { force: true });
  }
  await removeFolder(dir);
}

/** Names of the blobs that some snapshot links to, also from folders inside it, as Python makes them. */
async function linkedBlobs(repoDir: string): Promise<ReadonlySet<string>> {
  const snapshotsDir = join(repoDir, 'snapshots');
  const found = new Set<string>();
  for (const path of (await ifPresent(readdir(snapshotsDir, { recursive: true }))) ?? []) {
    const target = await ifPresent(readlink(join(snapshotsDir, path)));
    if (target !== undefined) found.add(basename(target));
  }
  return found;
}

function isPartialOf(name: string, blob: string): boolean {
  return name.startsWith(blob) && PARTIAL_SUFFIX.test(name.slice(blob.length));
}

/** A kill may leave the link under the name that it has before it is put in its place. */
function isLinkInMaking(link: string, name: string): boolean {
  return link.startsWith(name) && TEMPORARY_SUFFIX.test(link.slice(name.length));
}

async function namesIn(dir: string): Promise<readonly string[]> {
  return (await ifPresent(readdir(dir))) ?? [];
}

/** Only an empty one: what else is in it belongs to others. */
async function removeFolder(dir: string): Promise<void> {
  try {
    await rmdir(dir);
  } catch (error) {
    if (!['ENOENT', 'ENOTEMPTY', 'EEXIST', 'ENOTDIR'].includes(errorCode(error))) throw error;
  }
}
