/** What a hostile adapter is: a folder that must be refused with a 4xx which names what is wrong. Knows no attack. */

import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

/** Content, or whatever the function puts at the path. */
export type HostileFile = string | Uint8Array | ((path: string) => void);

export interface HostileAdapter {
  readonly name: string;
  readonly files: Readonly<Record<string, HostileFile>>;
  /** Of the answer; 422 unless told. */
  readonly status?: number;
  /** What the answer names: a field, a tensor or a file. */
  readonly says: RegExp;
  /** What it takes for harm, where the usual prompt would not do. */
  readonly prompt?: string;
  /** It does its harm where a chat is rendered, and loads as any other. */
  readonly inChat?: true;
}

export function writeHostileAdapter(folder: string, { files }: Pick<HostileAdapter, 'files'>): void {
  mkdirSync(folder, { recursive: true });
  for (const [name, content] of Object.entries(files)) {
    const path = join(folder, name);
    if (typeof content === 'function') content(path);
    else writeFileSync(path, content);
  }
}
