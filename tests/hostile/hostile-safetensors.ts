/** Safetensors files that lie about their headers, their offsets or their sizes, or hold what no model may compute with. */

import { closeSync, ftruncateSync, openSync, writeFileSync, writeSync } from 'node:fs';
import type { HostileAdapter, HostileFile } from './hostile-adapter.ts';
import {
  A,
  B,
  CONFIG,
  HALF,
  RANK,
  SOUND_HEADER,
  SOUND_WEIGHTS,
  WEIGHTS,
  WIDTH,
  entry,
  headerLength,
  loraConfig,
  safetensors,
  values,
} from './sound-files.ts';

/** More than any test machine holds; takes no room on its disk. */
const SPARSE_RANK = 2 ** 28;
const MANY = 1_000_000;

function spoiled(name: string, weights: HostileFile, says: RegExp, config = loraConfig()): HostileAdapter {
  return { name, files: { [CONFIG]: config, [WEIGHTS]: weights }, says };
}

const [a, b] = [SOUND_HEADER[A], SOUND_HEADER[B]];
const ITS_FILE = /adapter_model\.safetensors: /;

const headers: readonly HostileAdapter[] = [
  spoiled('header-of-8-eib', Buffer.concat([headerLength(2n ** 63n - 1n), Buffer.from('{}')]), ITS_FILE),
  spoiled('header-longer-than-file', Buffer.concat([headerLength(4096n), Buffer.from('{}')]), ITS_FILE),
  spoiled('header-cut-short', SOUND_WEIGHTS.subarray(0, 40), ITS_FILE),
  spoiled(
    'header-of-blanks',
    lazily(() => `{}${' '.repeat(99_000_000)}`),
    ITS_FILE,
  ),
  spoiled('no-bytes', '', ITS_FILE),
  spoiled('nested-header', safetensors(`{"${A}":${'['.repeat(MANY)}${']'.repeat(MANY)}}`), /lora_A\.weight/),
  spoiled('nested-and-open', safetensors(`{"${A}":${'{"a":'.repeat(MANY)}`), ITS_FILE),
  spoiled('name-twice', safetensors(`{"${A}":${JSON.stringify(a)},"${A}":${JSON.stringify(b)}}`), ITS_FILE),
  spoiled('no-object', safetensors('[1, 2]'), ITS_FILE),
  spoiled('no-utf-8', Buffer.concat([headerLength(4n), Buffer.from([0x7b, 0xff, 0xfe, 0x7d])]), ITS_FILE),
  spoiled(
    'a-million-tensors',
    lazily(() => manyTensors(MANY)),
    ITS_FILE,
  ),
  spoiled(
    'too-many-short-names',
    lazily(() => manyTensors(200_000)),
    ITS_FILE,
  ),
  spoiled(
    'tensors-up-to-the-limit',
    lazily(() => manyTensors(100_000)),
    /lora_A\.weight/,
  ),
  spoiled('long-name', safetensors({ ...SOUND_HEADER, ['x'.repeat(MANY)]: entry([0], 2 * HALF, 2 * HALF) }), /"?xxx/),
];

/** A header that is large where it is written, not where it is kept for later. */
function lazily(header: () => string): HostileFile {
  return (path) => writeFileSync(path, safetensors(header(), Buffer.alloc(0)));
}

function manyTensors(count: number): string {
  const tail = `":${JSON.stringify(entry([0], 0, 0))}`;
  return `{${Array.from({ length: count }, (_, i) => `"t${i}${tail}`).join(',')}}`;
}

const offsets: readonly HostileAdapter[] = [
  spoiled('overlap', safetensors({ [A]: a, [B]: entry([WIDTH, RANK], HALF - 4, 2 * HALF - 4) }), /lora_[AB]\.weight/),
  spoiled('same-bytes', safetensors({ [A]: a, [B]: entry([WIDTH, RANK], 0, HALF) }), /lora_[AB]\.weight/),
  spoiled('negative-offset', safetensors({ [A]: entry([RANK, WIDTH], -HALF, 0), [B]: b }), /lora_A\.weight/),
  spoiled('offsets-reversed', safetensors({ [A]: entry([RANK, WIDTH], HALF, 0), [B]: b }), /lora_A\.weight/),
  spoiled('offset-past-the-end', safetensors({ [A]: a, [B]: entry([WIDTH, RANK], 2 ** 40, 2 ** 40 + HALF) }), /lora_B/),
  spoiled('offset-past-integers', safetensors({ [A]: a, [B]: entry([WIDTH, RANK], 2 ** 60, 2 ** 60) }), /lora_B/),
  spoiled('offset-of-no-element', safetensors({ [A]: a, [B]: entry([WIDTH, RANK], HALF + 1, 2 * HALF + 1) }), /lora_B/),
  spoiled('fractional-offset', safetensors({ [A]: entry([RANK, WIDTH], 0.5, HALF), [B]: b }), /lora_A\.weight/),
  spoiled('more-data-than-tensors', Buffer.concat([SOUND_WEIGHTS, Buffer.alloc(64)]), ITS_FILE),
  spoiled('less-data-than-tensors', SOUND_WEIGHTS.subarray(0, -64), ITS_FILE),
];

const shapes: readonly HostileAdapter[] = [
  spoiled('shape-of-2-to-62', safetensors({ [A]: entry([2 ** 31, 2 ** 31], 0, 0), [B]: b }), /lora_A\.weight/),
  spoiled('shape-past-integers', safetensors({ [A]: entry([2 ** 53, 2 ** 53, 0], 0, 0), [B]: b }), /lora_A\.weight/),
  spoiled('negative-shape', safetensors({ [A]: entry([-RANK, -WIDTH], 0, HALF), [B]: b }), /lora_A\.weight/),
  spoiled(
    'ten-thousand-dimensions',
    safetensors({ [A]: entry(Array(10_000).fill(1), 0, 4), [B]: b }),
    /lora_[AB]\.weight/,
  ),
  spoiled(
    'nothing-in-a',
    safetensors({ [A]: entry([0, WIDTH], 0, 0), [B]: entry([WIDTH, RANK], 0, HALF) }, values().subarray(HALF)),
    /lora_A\.weight/,
  ),
  spoiled(
    'nothing-at-all',
    safetensors({ [A]: entry([0, WIDTH], 0, 0), [B]: entry([WIDTH, 0], 0, 0) }, Buffer.alloc(0)),
    /lora_A\.weight/,
  ),
  spoiled('a-turned', safetensors({ [A]: entry([WIDTH, RANK], 0, HALF), [B]: b }), /lora_A\.weight/),
  spoiled('no-b', safetensors({ [A]: a }, values().subarray(0, HALF)), /lora_B\.weight/),
  spoiled('integers', safetensors({ [A]: entry([RANK, WIDTH], 0, HALF, 'I32'), [B]: b }), /lora_A\.weight/),
  spoiled('unknown-type', safetensors({ [A]: entry([RANK, WIDTH], 0, HALF, '__proto__'), [B]: b }), /lora_A\.weight/),
  spoiled(
    'a-tensor-of-nobody',
    safetensors({ ...SOUND_HEADER, '../../x': entry([0], 2 * HALF, 2 * HALF) }),
    /\.\.\/\.\.\/x/,
  ),
  spoiled('huge-by-shape', sparseWeights, /needs \d+ bytes/),
  spoiled('huge-and-of-its-rank', sparseWeights, /needs \d+ bytes/, loraConfig({ r: SPARSE_RANK })),
];

/** Tensors of half a terabyte each: true to the format, and to the rank that the configuration may say. */
function sparseWeights(path: string): void {
  const half = SPARSE_RANK * WIDTH * 4;
  const header = { [A]: entry([SPARSE_RANK, WIDTH], 0, half), [B]: entry([WIDTH, SPARSE_RANK], half, 2 * half) };
  const head = safetensors(header, Buffer.alloc(0));
  const file = openSync(path, 'w');
  writeSync(file, head);
  ftruncateSync(file, head.length + 2 * half);
  closeSync(file);
}

const numbers: readonly HostileAdapter[] = [
  spoiled('nan', safetensors(SOUND_HEADER, values({ 3: NaN })), /lora_A\.weight/),
  spoiled('infinity', safetensors(SOUND_HEADER, values({ [RANK * WIDTH + 5]: Infinity })), /lora_B\.weight/),
  spoiled('minus-infinity', safetensors(SOUND_HEADER, values({ [2 * RANK * WIDTH - 1]: -Infinity })), /lora_B\.weight/),
];

export const HOSTILE_SAFETENSORS = [...headers, ...offsets, ...shapes, ...numbers];
