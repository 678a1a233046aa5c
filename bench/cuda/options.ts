/** The command line of the benchmark on a card. Throws OPTION_INVALID naming the flag. */

import { resolve } from 'node:path';
import { parseArgs } from 'node:util';
import type { MatmulPrecision } from '#server/backend/precision.ts';
import { LoraxError } from '#server/base/errors.ts';
import type { DeviceName } from '#server/config/device-name.ts';
import { count, oneOf, refuse } from '../flag-values.ts';
import { PARTS, type Part } from './parts.ts';

export const HELP = `npm run bench:cuda -- [options]

  --only PART,PART           ${PARTS.join(', ')}                      [all]
  --layers N                 layers of the model; the figures to reach are about 32           [32]
  --device cuda|cuda:N       the card                                                         [the first that can be used]
  --num-shard N              cards that compute together                                      [1]
  --matmul-precision LEVEL   high, medium                                                     [medium]
  --folder DIR               where the files of the part http are kept between runs, 17 GB    [in memory, and removed]
  --peft FILE                what scripts/bench-peft.py printed on the same card, to compare with
  --json FILE                also write JSON lines
`;

export interface CudaBenchOptions {
  readonly parts: ReadonlySet<Part>;
  readonly layerCount: number;
  readonly device: DeviceName;
  readonly shardCount: number;
  readonly precision: MatmulPrecision;
  readonly folder: string | undefined;
  readonly peftFile: string | undefined;
  readonly jsonFile: string | undefined;
}

/** Undefined asks for the help. */
export function readCudaOptions(argv: readonly string[]): CudaBenchOptions | undefined {
  const values = parse(argv);
  if (values.help) return undefined;
  const names = values.only?.split(',') ?? PARTS;
  return {
    parts: new Set(names.map((name) => oneOf('--only', name, PARTS))),
    layerCount: count('--layers', values.layers),
    device: readDevice(values.device),
    shardCount: count('--num-shard', values['num-shard']),
    precision: oneOf('--matmul-precision', values['matmul-precision'], ['high', 'medium']),
    folder: values.folder === undefined ? undefined : resolve(values.folder),
    peftFile: values.peft,
    jsonFile: values.json,
  };
}

function parse(argv: readonly string[]) {
  const optional = { type: 'string' } as const;
  try {
    return parseArgs({
      args: [...argv],
      options: {
        ...{ only: optional, folder: optional, peft: optional, json: optional },
        layers: { type: 'string', default: '32' },
        device: { type: 'string', default: 'cuda' },
        'num-shard': { type: 'string', default: '1' },
        'matmul-precision': { type: 'string', default: 'medium' },
        help: { type: 'boolean', default: false },
      },
    }).values;
  } catch (error) {
    throw new LoraxError('OPTION_INVALID', { option: 'line', reason: (error as Error).message }, { cause: error });
  }
}

function readDevice(text: string): DeviceName {
  if (text === 'cuda') return text;
  const index = /^cuda:(\d+)$/.exec(text)?.[1];
  return index === undefined ? refuse('--device', 'must be cuda or cuda:N') : `cuda:${Number(index)}`;
}
