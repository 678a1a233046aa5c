/** One use of a fetched folder, shared by those who read it: it goes back to its source when the last of them is done. */

import { assert } from '../../base/assert.ts';
import type { ResolvedFolder } from '../../sources/source.ts';

export class FolderHold {
  readonly folder: ResolvedFolder;
  #holderCount = 1;
  #isReleased = false;

  constructor(folder: ResolvedFolder) {
    this.folder = folder;
  }

  /** Whether the files are still kept for somebody. */
  get isOpen(): boolean {
    return this.#holderCount > 0;
  }

  /** Keeps the files for as long as the work takes, whatever becomes of the first holder. */
  async during<T>(work: (folder: ResolvedFolder) => Promise<T>): Promise<T> {
    assert(this.isOpen, 'a released folder is not used again');
    this.#holderCount++;
    try {
      return await work(this.folder);
    } finally {
      this.#drop();
    }
  }

  /** By whoever fetched it. Idempotent. */
  release(): void {
    if (this.#isReleased) return;
    this.#isReleased = true;
    this.#drop();
  }

  #drop(): void {
    if (--this.#holderCount === 0) this.folder.release();
  }
}
