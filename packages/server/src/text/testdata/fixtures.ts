/** Four small tokenizers with reference vectors, as transformers computed them (see `README.md` beside the data). */
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gunzipSync } from 'node:zlib';

export const KINDS = ['bpe_bytelevel_llama3', 'bpe_metaspace_llama2', 'unigram_t5', 'wordpiece_bert'] as const;

export interface Vectors {
  readonly encodings: readonly {
    readonly text: string;
    readonly ids: readonly number[];
    readonly ids_no_special: readonly number[];
    readonly decoded: string;
    readonly decoded_with_special: string;
  }[];
  readonly chats?: readonly {
    readonly messages: readonly { readonly role: string; readonly content: string }[];
    readonly rendered?: string;
    readonly [extra: string]: unknown;
  }[];
}

const REPOSITORY = new URL('../../../../../', import.meta.url);

/** Writes the committed folders to a temporary place; `remove` deletes it. */
export function unpackTokenizers(): { folderOf(kind: string): string; remove(): void } {
  const root = mkdtempSync(join(tmpdir(), 'lorax-tokenizers-'));
  for (const kind of KINDS) {
    const packed = new URL(`packages/server/src/text/testdata/${kind}.json.gz`, REPOSITORY);
    const files = JSON.parse(gunzipSync(readFileSync(packed)).toString('utf8')) as Record<string, string>;
    mkdirSync(join(root, kind));
    for (const [name, content] of Object.entries(files)) writeFileSync(join(root, kind, name), content);
  }
  return {
    folderOf: (kind) => join(root, kind),
    remove: () => rmSync(root, { recursive: true, force: true }),
  };
}

export function vectorsIn(folder: string): Vectors {
  return JSON.parse(readFileSync(join(folder, 'expected.json'), 'utf8')) as Vectors;
}

/** A larger set of the same form, where the checkout has one beside it. */
export function sharedTokenizers(): string | undefined {
  const folder = fileURLToPath(new URL('../shared/goldens/tokenizers', REPOSITORY));
  return existsSync(folder) ? folder : undefined;
}
