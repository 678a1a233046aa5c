/** Medusa folders whose configuration and tensors do not belong together, or ask for more heads than there can be. */

import type { HostileAdapter } from './hostile-adapter.ts';
import {
  CONFIG,
  SOUND_WEIGHTS,
  WEIGHTS,
  WIDTH,
  entry,
  loraConfig,
  safetensors,
  type HeaderEntry,
} from './sound-files.ts';

const MODEL_CONFIG = 'config.json';
const HEADS = 'medusa_lm_head.safetensors';

function config(fields: Readonly<Record<string, unknown>> = {}): string {
  return JSON.stringify({
    medusa_num_heads: 2,
    medusa_num_layers: 1,
    base_model_name_or_path: 'lorax-demo/base',
    ...fields,
  });
}

type Shapes = Readonly<Record<string, readonly number[]>>;

const SHAPES: Shapes = {
  '0.0.linear.weight': [WIDTH, WIDTH],
  '0.0.linear.bias': [WIDTH],
  '1.0.linear.weight': [WIDTH, WIDTH],
  '1.0.linear.bias': [WIDTH],
};

/** All zero but for the first number. */
function heads(shapes: Shapes = SHAPES, first = 0): Buffer {
  const header: Record<string, HeaderEntry> = {};
  let end = 0;
  for (const [name, shape] of Object.entries(shapes)) {
    const begin = end;
    end += 4 * shape.reduce((product, length) => product * length, 1);
    header[name] = entry(shape, begin, end);
  }
  const data = Buffer.alloc(end);
  if (end > 0) data.writeFloatLE(first);
  return safetensors(header, data);
}

function spoiled(name: string, configuration: string, weights: Buffer, says: RegExp): HostileAdapter {
  return { name: `heads-${name}`, files: { [MODEL_CONFIG]: configuration, [HEADS]: weights }, says };
}

function setting(name: string, fields: Readonly<Record<string, unknown>>, says: RegExp): HostileAdapter {
  return spoiled(name, config(fields), heads(), says);
}

const { '1.0.linear.bias': _, ...WITHOUT_ONE } = SHAPES;

export const HOSTILE_HEADS: readonly HostileAdapter[] = [
  setting('a-billion', { medusa_num_heads: 1e9 }, /medusa_num_heads/),
  setting('below-0', { medusa_num_heads: -2 }, /medusa_num_heads/),
  setting('none', { medusa_num_heads: 0 }, /medusa_num_heads/),
  setting('half', { medusa_num_heads: 1.5 }, /medusa_num_heads/),
  setting('of-text', { medusa_num_heads: '2' }, /medusa_num_heads/),
  setting('of-null', { medusa_num_heads: null }, /medusa_num_heads/),
  setting('layers-a-billion', { medusa_num_layers: 1e9 }, /medusa_num_layers/),
  setting('layers-below-0', { medusa_num_layers: -1 }, /medusa_num_layers/),
  setting('more-than-tensors', { medusa_num_heads: 32 }, /31\.0\.linear|2\.0\.linear/),
  setting('fewer-than-tensors', { medusa_num_heads: 1 }, /1\.0\.linear/),
  setting('more-layers-than-tensors', { medusa_num_layers: 3 }, /0\.1\.linear/),
  setting('version-of-code', { version: 'constructor' }, /version/),
  spoiled(
    'config-past-all-numbers',
    config({ medusa_num_heads: 0 }).replace(':0', ':1e999'),
    heads(),
    /medusa_num_heads/,
  ),
  spoiled('config-field-twice', `{"medusa_num_heads":1,${config().slice(1)}`, heads(), /config\.json/),
  spoiled('config-cut', config().slice(0, -1), heads(), /config\.json/),
  spoiled('tensor-missing', config(), heads(WITHOUT_ONE), /1\.0\.linear\.bias/),
  spoiled(
    'of-another-width',
    config(),
    heads({ ...SHAPES, '0.0.linear.weight': [WIDTH, 2 * WIDTH] }),
    /0\.0\.linear\.weight/,
  ),
  spoiled('of-no-width', config(), heads({ ...SHAPES, '0.0.linear.weight': [0, WIDTH] }), /0\.0\.linear\.weight/),
  spoiled('tensor-of-nobody', config(), heads({ ...SHAPES, '../../x': [1] }), /\.\.\/\.\.\/x/),
  spoiled('nan', config(), heads(SHAPES, NaN), /medusa\.weight/),
  spoiled('no-tensors', config(), heads({}), /0\.0\.linear/),
  {
    name: 'heads-beside-lora',
    files: { [CONFIG]: loraConfig(), [MODEL_CONFIG]: config(), [WEIGHTS]: SOUND_WEIGHTS },
    says: /0\.0\.linear/,
  },
];
