/** A folder for one test, removed after it. */

import { mkdirSync, mkdtempSync, realpathSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';

/** As a real path, so that tests can compare with it. */
export function temporaryFolder(context: { after(clean: () => void): void }): string {
  const folder = makeTemporaryFolder();
  context.after(() => removeFolder(folder));
  return folder;
}

export function makeTemporaryFolder(): string {
  return realpathSync(mkdtempSync(join(tmpdir(), 'lorax-sources-')));
}

export function removeFolder(folder: string): void {
  rmSync(folder, { recursive: true, force: true });
}

export function writeFiles(folder: string, files: Readonly<Record<string, string>>): void {
  mkdirSync(folder, { recursive: true });
  for (const [name, content] of Object.entries(files)) {
    mkdirSync(dirname(join(folder, name)), { recursive: true });
    writeFileSync(join(folder, name), content);
  }
}
