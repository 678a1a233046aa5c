/**
 * Machine code of kernels on disk, found again by what it was made from. A folder that cannot be read or written only
 * costs the compilation of the next start.
 */

import { createHash } from 'node:crypto';
import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { KernelSource } from './nvrtc.ts';

/** All that decides what a compiler makes of a source. */
export interface ModuleKey {
  readonly source: KernelSource;
  /** The architecture among them. */
  readonly options: readonly string[];
  readonly compilerVersion: string;
}

export class ModuleCache {
  readonly #folder: string;

  constructor(folder: string) {
    this.#folder = folder;
  }

  /** What was kept for the key. */
  find(key: ModuleKey): Uint8Array | undefined {
    try {
      return readFileSync(this.#path(key));
    } catch {
      return undefined;
    }
  }

  /** Under its name only when it is whole: servers may start side by side. */
  keep(key: ModuleKey, module: Uint8Array): void {
    const path = this.#path(key);
    const draft = `${path}.${process.pid}`;
    try {
      mkdirSync(this.#folder, { recursive: true, mode: 0o700 });
      writeFileSync(draft, module, { mode: 0o600 });
      renameSync(draft, path);
    } catch {
      // Read-only homes are common in containers.
    }
  }

  #path(key: ModuleKey): string {
    return join(this.#folder, moduleFileName(key));
  }
}

/** `rows-<hash>.cubin`. */
export function moduleFileName({ source, options, compilerVersion }: ModuleKey): string {
  const { name, text, headers } = source;
  const content = JSON.stringify([name, text, Object.entries(headers), options, compilerVersion]);
  const hash = createHash('sha256').update(content).digest('hex').slice(0, 32);
  return `${name.replace(/\.cu$/, '')}-${hash}.cubin`;
}
