/** Adapters that are sound but for the text files beside them: chat templates and tokenizers of strangers. */

import { readFileSync, truncateSync, writeFileSync } from 'node:fs';
import { inRepository } from '../repository.ts';
import type { HostileAdapter, HostileFile } from './hostile-adapter.ts';
import { CONFIG, SOUND_WEIGHTS, WEIGHTS, loraConfig } from './sound-files.ts';

const SOUND: HostileAdapter['files'] = { [CONFIG]: loraConfig(), [WEIGHTS]: SOUND_WEIGHTS };

function template(name: string, jinja: string): HostileAdapter {
  const files = { ...SOUND, 'chat_template.jinja': jinja };
  return { name: `template-${name}`, files, says: /chat template/, inChat: true };
}

const templates: readonly HostileAdapter[] = [
  template(
    'for-ever',
    '{% for a in range(100000) %}{% for b in range(100000) %}{% set c = a %}{% endfor %}{% endfor %}',
  ),
  template(
    'memory',
    `{% set ns = namespace(x='${'x'.repeat(1000)}') %}{% for i in range(60) %}{% set ns.x = ns.x ~ ns.x %}{% endfor %}`,
  ),
  template('list', '{% set ns = namespace(x=[1]) %}{% for i in range(60) %}{% set ns.x = ns.x + ns.x %}{% endfor %}'),
  template('range', '{{ range(9999999999) | length }}'),
  template('output', `{% for i in range(100000) %}${'y'.repeat(1000)}{% endfor %}`),
  template('prototype', "{{ ''.constructor.constructor('return process')().exit() }}"),
  template('proto', "{{ messages.__proto__.polluted('x') }}"),
  template('include', "{% include '/etc/passwd' %}"),
  template('import', "{% import '/etc/passwd' as x %}{{ x }}"),
  template('raise', "{{ raise_exception('no') }}"),
  template('open', '{% for x in messages %}'),
  template('deep', `{{ ${'('.repeat(20_000)}1${')'.repeat(20_000)} }}`),
  template('recursion', '{% macro m(x) %}{{ m(x) }}{% endmacro %}{{ m(1) }}'),
];

function text(
  name: string,
  file: string,
  content: HostileFile,
  says = new RegExp(file.replace('.', '\\.')),
): HostileAdapter {
  return { name, files: { ...SOUND, [file]: content }, says };
}

function sparse(byteLength: number): HostileFile {
  return (path) => {
    writeFileSync(path, '');
    truncateSync(path, byteLength);
  };
}

/** The demo model's tokenizer with something else in it. */
function tokenizer(change: (json: TokenizerJson) => unknown): string {
  const path = inRepository('packages/demo-model/base/tokenizer.json');
  return JSON.stringify(change(JSON.parse(readFileSync(path, 'utf8')) as TokenizerJson));
}

interface TokenizerJson {
  readonly model: { readonly vocab: Readonly<Record<string, number>>; readonly merges: unknown };
  readonly [field: string]: unknown;
}

const splitForEver = (json: TokenizerJson): unknown => ({
  ...json,
  pre_tokenizer: { type: 'Split', pattern: { Regex: '((a| )+)+!' }, behavior: 'Isolated', invert: false },
});

const tokenizers: readonly HostileAdapter[] = [
  text('tokenizer-empty', 'tokenizer.json', ''),
  text('tokenizer-of-zeros', 'tokenizer.json', Buffer.alloc(100_000)),
  text('tokenizer-of-65-mib', 'tokenizer.json', sparse(65 << 20)),
  text('tokenizer-nested', 'tokenizer.json', `{"model":${'['.repeat(1_000_000)}${']'.repeat(1_000_000)}}`),
  text('tokenizer-of-null', 'tokenizer.json', '{"model":null}'),
  text('tokenizer-of-nothing', 'tokenizer.json', '{}'),
  text(
    'tokenizer-ids-of-a-billion',
    'tokenizer.json',
    tokenizer(({ model, ...json }) => ({ ...json, model: { ...model, vocab: { ...model.vocab, zzz: 1e9 } } })),
  ),
  text(
    'tokenizer-ids-below-0',
    'tokenizer.json',
    tokenizer(({ model, ...json }) => ({ ...json, model: { ...model, vocab: { ...model.vocab, zzz: -1 } } })),
  ),
  {
    ...text('tokenizer-for-ever', 'tokenizer.json', tokenizer(splitForEver)),
    prompt: 'a'.repeat(100),
  },
  text('settings-cut', 'tokenizer_config.json', '{"chat_template": '),
  text('settings-of-33-mib', 'tokenizer_config.json', sparse(33 << 20)),
  text('template-of-33-mib', 'chat_template.jinja', sparse(33 << 20)),
  text('tokens-cut', 'special_tokens_map.json', '['),
];

export const HOSTILE_TEXTS = [...templates, ...tokenizers];
