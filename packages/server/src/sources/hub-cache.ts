/**
 * The Hub cache on disk in the layout that Python's huggingface_hub reads and writes:
 * `models--org--name/{refs/<revision>, blobs/<etag>, snapshots/<commit>/<file> -> ../../blobs/<etag>}`.
 * Knows nothing about the network. Reads go through real paths, because Python may link blobs to a shared store.
 */

import { mkdir, readFile, readdir, realpath, rename, stat, symlink, writeFile } from 'node:fs/promises';
import { dirname, join, relative } from 'node:path';

import { SourceFault } from './source-fault.ts';
import { type HubId, isCommit } from './hub-id.ts';
import { ifPresent } from './if-present.ts';

/** What the names of links and refs end in before they are put in their places. */
export const TEMPORARY_SUFFIX = /^\.[0-9a-f]{8}\.\d+$/;

export class HubCache {
  readonly #dir: string;
  /** Makes this process' temporary names differ from those of others in the same cache. */
  readonly #tag: string;
  readonly #kind: string;

  /** Another `kind` than `models` keeps what does not come from the Hub in folders that Python passes over. */
  constructor(dir: string, tag: string, kind = 'models') {
    this.#dir = dir;
    this.#tag = tag;
    this.#kind = kind;
  }

  /** The commit that a revision stands for as far as the cache knows. */
  async commitOf({ repo, revision }: HubId): Promise<string | undefined> {
    if (isCommit(revision)) return revision;
    const text = await ifPresent(readFile(join(this.#repoDir(repo), 'refs', revision), 'utf8'));
    const commit = text?.trim();
    return commit !== undefined && isCommit(commit) ? commit : undefined;
  }

  /** The snapshot's folder as a real path. Rejects with a `SourceFault` when somebody has just removed it. */
  async snapshot(repo: string, commit: string): Promise<string> {
    const folder = await ifPresent(realpath(this.#snapshotDir(repo, commit)));
    if (folder === undefined) throw new SourceFault('missing', 'its files were removed from the cache');
    return folder;
  }

  /** Names of the snapshot's files whose content is there: a link whose blob was deleted does not count. */
  async fileNames(repo: string, commit: string): Promise<readonly string[]> {
    const folder = this.#snapshotDir(repo, commit);
    const names = (await ifPresent(readdir(folder))) ?? [];
    const found = await Promise.all(names.map((name) => ifPresent(stat(join(folder, name)))));
    return names.filter((_, index) => found[index]?.isFile() === true);
  }

  filePath(repo: string, commit: string, name: string): string {
    return join(this.#snapshotDir(repo, commit), name);
  }

  /** `etag` has been checked to be a plain file name. */
  blobPath(repo: string, etag: string): string {
    return join(this.#repoDir(repo), 'blobs', etag);
  }

  async hasBlob(repo: string, etag: string, sizeBytes: number): Promise<boolean> {
    const found = await ifPresent(stat(this.blobPath(repo, etag)));
    return found !== undefined && found.isFile() && found.size === sizeBytes;
  }

  /** Puts a blob into a snapshot under a file's name, replacing a link that leads elsewhere. */
  async link(repo: string, commit: string, name: string, etag: string): Promise<void> {
    const path = this.filePath(repo, commit, name);
    const target = relative(dirname(path), this.blobPath(repo, etag));
    await this.#replace(path, (temporary) => symlink(target, temporary));
  }

  /** Remembers which commit a branch or tag stands for. A commit stands for itself and gets no entry. */
  async writeRef({ repo, revision }: HubId, commit: string): Promise<void> {
    if ((await this.commitOf({ repo, revision })) === commit) return;
    await this.#replace(join(this.#repoDir(repo), 'refs', revision), (temporary) => writeFile(temporary, commit));
  }

  async #replace(path: string, make: (temporary: string) => Promise<void>): Promise<void> {
    await mkdir(dirname(path), { recursive: true });
    const temporary = `${path}.${this.#tag}.${nextNumber()}`;
    await make(temporary);
    await rename(temporary, path);
  }

  /** The repository's folder in the cache, by name alone. */
  folderName(repo: string): string {
    return `${this.#kind}--${repo.replace('/', '--')}`;
  }

  #repoDir(repo: string): string {
    return join(this.#dir, this.folderName(repo));
  }

  #snapshotDir(repo: string, commit: string): string {
    return join(this.#repoDir(repo), 'snapshots', commit);
  }
}

let lastNumber = 0;

function nextNumber(): number {
  return ++lastNumber;
}
