/** Folders with links, pipes and devices where files are expected, indexes of shards elsewhere, and whole models. */

import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { inRepository } from '../repository.ts';
import type { HostileAdapter, HostileFile } from './hostile-adapter.ts';
import { A, B, CONFIG, SOUND_WEIGHTS, WEIGHTS, loraConfig } from './sound-files.ts';

const SOUND: HostileAdapter['files'] = { [CONFIG]: loraConfig(), [WEIGHTS]: SOUND_WEIGHTS };

const link = (target: string): HostileFile => {
  return (path) => symlinkSync(target, path);
};
const pipe: HostileFile = (path) => void execFileSync('mkfifo', [path]);
const folder: HostileFile = (path) => mkdirSync(path);

function spoiled(name: string, files: HostileAdapter['files'], says: RegExp, status = 422): HostileAdapter {
  return { name, files: { ...SOUND, ...files }, says, status };
}

const OUTSIDE = /not accessible/;

const links: readonly HostileAdapter[] = [
  spoiled('weights-link-to-themselves', { [WEIGHTS]: link(WEIGHTS) }, /adapter_model\.safetensors/),
  spoiled('weights-link-in-a-circle', { [WEIGHTS]: link('x.json'), 'x.json': link(WEIGHTS) }, /is not a file/),
  spoiled('weights-link-out', { [WEIGHTS]: link('/etc/passwd') }, OUTSIDE, 403),
  spoiled('weights-link-to-nothing-outside', { [WEIGHTS]: link('../../../nothing') }, OUTSIDE, 403),
  spoiled('config-link-out', { [CONFIG]: link(inRepository('package.json')) }, OUTSIDE, 403),
  spoiled('tokenizer-link-out', { 'tokenizer.json': link('/proc/self/environ') }, OUTSIDE, 403),
  spoiled('weights-link-to-a-device', { [WEIGHTS]: link('/dev/zero') }, OUTSIDE, 403),
  spoiled('weights-link-to-a-folder', { [WEIGHTS]: link('.') }, /adapter_model\.safetensors/),
  spoiled('weights-link-nowhere', { [WEIGHTS]: link('missing.safetensors') }, /adapter_model\.safetensors/),
];

const kinds: readonly HostileAdapter[] = [
  spoiled('weights-are-a-pipe', { [WEIGHTS]: pipe }, /adapter_model\.safetensors/),
  spoiled('config-is-a-pipe', { [CONFIG]: pipe }, /adapter_config\.json/),
  spoiled('tokenizer-is-a-pipe', { 'tokenizer.json': pipe }, /tokenizer\.json/),
  spoiled('template-is-a-pipe', { 'chat_template.jinja': pipe }, /chat_template\.jinja/),
  spoiled('stranger-is-a-pipe', { 'zzz.safetensors': pipe }, /zzz\.safetensors/),
  spoiled('weights-are-a-folder', { [WEIGHTS]: folder }, /adapter_model\.safetensors/),
  spoiled('config-is-a-folder', { [CONFIG]: folder }, /adapter_config\.json/),
];

const INDEX = 'adapter_model.safetensors.index.json';

function index(
  name: string,
  content: string,
  says: RegExp = /adapter_model\.safetensors\.index\.json/,
): HostileAdapter {
  const files = { [CONFIG]: loraConfig(), [INDEX]: content, 'adapter_model-a.safetensors': SOUND_WEIGHTS };
  return { name: `index-${name}`, files, says };
}

const shards = (a: string, b: string): string => JSON.stringify({ weight_map: { [A]: a, [B]: b } });

const indexes: readonly HostileAdapter[] = [
  index('leads-out', shards('../../x.safetensors', '../../x.safetensors')),
  index('absolute', shards('/etc/x.safetensors', '/etc/x.safetensors')),
  index('other-separators', shards('..\\..\\x.safetensors', 'C:x.safetensors')),
  index('nul', shards('adapter_model-a.safetensors\0.safetensors', 'x.safetensors')),
  index('missing', shards('adapter_model-a.safetensors', 'adapter_model-b.safetensors')),
  index('no-safetensors', shards('adapter_config.json', 'adapter_config.json')),
  index('no-map', '{"weight_map": []}'),
  index('cut', '{"weight_map": {'),
  index('of-many', JSON.stringify({ weight_map: manyShards() })),
  {
    name: 'shards-without-end',
    files: { [CONFIG]: loraConfig(), 'adapter_model-00001-of-99999.safetensors': SOUND_WEIGHTS },
    says: /1 of the 99999 shards/,
  },
  { name: 'two-thousand-files', files: { [CONFIG]: loraConfig(), [WEIGHTS]: manyFiles }, says: /1000 files/ },
];

function manyShards(): Record<string, string> {
  return Object.fromEntries(Array.from({ length: 100_000 }, (_, i) => [`t${i}`, `s${i}.safetensors`]));
}

function manyFiles(path: string): void {
  for (let i = 0; i < 2000; i++) writeFileSync(join(dirname(path), `adapter_model_${i}.safetensors`), '');
}

const BASE = inRepository('packages/demo-model/base');

const models: readonly HostileAdapter[] = [
  {
    name: 'a-whole-model',
    files: { 'config.json': readFileSync(join(BASE, 'config.json')), 'model.safetensors': SOUND_WEIGHTS },
    says: /whole model/,
  },
  spoiled(
    'a-model-as-weights',
    { [WEIGHTS]: readFileSync(join(BASE, 'model.safetensors')) },
    /model\.layers|embed_tokens/,
  ),
  { name: 'weights-alone', files: { [WEIGHTS]: SOUND_WEIGHTS }, says: /adapter_config\.json/ },
  { name: 'config-alone', files: { [CONFIG]: loraConfig() }, says: /adapter_model\.safetensors/ },
];

export const HOSTILE_FOLDERS = [...links, ...kinds, ...indexes, ...models];
