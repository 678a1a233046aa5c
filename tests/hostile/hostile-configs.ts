/** Configurations that ask for too much, contradict their tensors, or carry expressions that take for ever to match. */

import type { HostileAdapter, HostileFile } from './hostile-adapter.ts';
import { CONFIG, SOUND_WEIGHTS, WEIGHTS, loraConfig } from './sound-files.ts';

function spoiled(name: string, config: HostileFile, says: RegExp): HostileAdapter {
  return { name, files: { [CONFIG]: config, [WEIGHTS]: SOUND_WEIGHTS }, says };
}

function setting(name: string, fields: Readonly<Record<string, unknown>>, says: RegExp): HostileAdapter {
  return spoiled(name, loraConfig(fields), says);
}

/** As JSON spells it, which is more than a number of JavaScript holds. */
function literal(field: string, spelled: string): string {
  return loraConfig({ [field]: '?' }).replace('"?"', spelled);
}

const numbers: readonly HostileAdapter[] = [
  setting('rank-of-2-to-31', { r: 2 ** 31 }, /lora_[AB]\.weight/),
  setting('rank-of-a-billion', { r: 1e9 }, /lora_[AB]\.weight/),
  setting('rank-0', { r: 0 }, /"r"/),
  setting('rank-below-0', { r: -8 }, /"r"/),
  setting('rank-of-text', { r: '8' }, /"r"/),
  spoiled('rank-past-all-numbers', literal('r', '1e999'), /"r"/),
  spoiled('alpha-past-all-numbers', literal('lora_alpha', '1e999'), /"lora_alpha"/),
  setting('alpha-past-float32', { lora_alpha: 1e300 }, /"lora_alpha"/),
  setting('alpha-pattern-past-float32', { alpha_pattern: { q_proj: -1e300 } }, /"alpha_pattern/),
  setting('rank-pattern-of-0', { rank_pattern: { q_proj: 0 } }, /"rank_pattern/),
  setting('rank-pattern-huge', { rank_pattern: { q_proj: 2 ** 40 } }, /lora_[AB]\.weight/),
];

const forms: readonly HostileAdapter[] = [
  spoiled('config-empty', '', /adapter_config\.json/),
  spoiled('config-of-zeros', Buffer.alloc(4096), /adapter_config\.json/),
  spoiled('config-cut', loraConfig().slice(0, 40), /adapter_config\.json/),
  spoiled('config-of-2-mib', loraConfig({ task_type: 'x'.repeat(2 << 20) }), /adapter_config\.json/),
  spoiled('config-nested', `{"r":${'['.repeat(400_000)}${']'.repeat(400_000)}}`, /adapter_config\.json/),
  spoiled('config-field-twice', '{"peft_type":"LORA","r":2,"r":4}', /adapter_config\.json/),
  spoiled('config-prototype', '{"__proto__":{"peft_type":"LORA","r":2}}', /peft_type/),
  setting('another-method', { peft_type: '../../bin/sh' }, /"peft_type"/),
  setting('another-mathematics', { use_qalora: true }, /"use_qalora"/),
  setting('five-thousand-patterns', { rank_pattern: patterns(5000) }, /"rank_pattern/),
  setting('a-million-targets', { target_modules: Array.from({ length: 100_000 }, (_, i) => `a${i}`) }, /./),
];

function patterns(count: number): Record<string, number> {
  return Object.fromEntries(Array.from({ length: count }, (_, i) => [`(a|b)${i}`, 2]));
}

/** Each takes longer than anybody waits where it backtracks, or more memory than there is where it is compiled. */
const FOR_EVER = '([a-z_.0-9]+)+!';

const expressions: readonly HostileAdapter[] = [
  setting('targets-for-ever', { target_modules: FOR_EVER }, /"target_modules"/),
  setting('exclusions-for-ever', { exclude_modules: FOR_EVER }, /"exclude_modules"/),
  setting('ranks-for-ever', { rank_pattern: { [FOR_EVER]: 2 } }, /"rank_pattern"/),
  setting('alphas-for-ever', { alpha_pattern: { [`(.*)*${FOR_EVER}`]: 2 } }, /"alpha_pattern"/),
  setting('saved-for-ever', { modules_to_save: [FOR_EVER] }, /"modules_to_save"/),
  setting(
    'layers-for-ever',
    { layers_to_transform: [0], layers_pattern: [FOR_EVER], target_modules: ['q_proj'] },
    /"layers_pattern"/,
  ),
  setting(
    'counts-of-counts',
    { target_modules: '(((((.{1,999}){1,999}){1,999}){1,999}){1,999}){1,999}!' },
    /"target_modules"/,
  ),
  setting('expression-of-5000', { target_modules: `(${'a?'.repeat(2500)})` }, /"target_modules"/),
  setting('two-thousand-groups', { target_modules: `${'('.repeat(2000)}a${')'.repeat(2000)}` }, /./),
  setting('expression-open', { target_modules: '(((' }, /"target_modules"/),
];

export const HOSTILE_CONFIGS = [...numbers, ...forms, ...expressions];
