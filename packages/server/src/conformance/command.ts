/** `npm run conformance -- [DIR] [--dtype TYPE]`: chooses the vectors, runs the suite, gives the exit code. */

import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { EXIT } from '../cli/exit.ts';
import { findDevice, findShards } from '../serving/backend.ts';
import type { Dtype } from '../weights/tensor-view.ts';
import { unpackVectors } from './bundled-vectors.ts';
import { PRECISIONS } from './precision.ts';
import { runSuite } from './suite.ts';
import { withTemporaryFolder } from './temporary-folder.ts';

const DEFAULT_DTYPES: readonly Dtype[] = ['float32', 'bfloat16'];

const USAGE = `usage: npm run conformance -- [DIR] [--dtype ${Object.keys(PRECISIONS).join('|')}] [--threads N] [--device cpu|cuda] [--num-shard N]

Compares the engine with reference vectors: those in DIR, else the full set beside the repository where there is one,
else the ones that the repository carries. --dtype may be given several times; without it ${DEFAULT_DTYPES.join(' and ')} run.
One thread of the CPU unless told: on models as small as these, more would only wait for each other. --num-shard divides the
models among so many cards, or among shards on one card where there are fewer.`;

/** Where development machines and CI keep the full set. */
const FULL_SET = fileURLToPath(new URL('../../../../../shared/goldens', import.meta.url));

interface Arguments {
  readonly folder: string | undefined;
  readonly dtypes: readonly Dtype[];
  readonly threads: number;
  readonly device: 'cpu' | 'cuda';
  readonly shardCount: number;
}

/** The exit code: a failure also where nothing was checked. */
export async function runConformance(args: readonly string[], write: (line: string) => void): Promise<number> {
  const options = parseArguments(args);
  if (options === undefined) {
    write(USAGE);
    return EXIT.usage;
  }
  const folder = options.folder ?? (existsSync(FULL_SET) ? FULL_SET : undefined);
  if (folder !== undefined) return runOver(folder, options, write);
  return withTemporaryFolder((bundled) => {
    unpackVectors(bundled);
    return runOver(bundled, options, write);
  });
}

async function runOver(
  folder: string,
  { dtypes, threads, device: name, shardCount }: Arguments,
  write: (line: string) => void,
): Promise<number> {
  const device = name === 'cpu' ? findDevice('cpu') : findShards(shardCount);
  const report = await runSuite(folder, { dtypes, threads, device, write });
  return report.isGood ? EXIT.ok : EXIT.failure;
}

function parseArguments(args: readonly string[]): Arguments | undefined {
  try {
    const { positionals, values } = parseArgs({
      args: [...args],
      allowPositionals: true,
      options: {
        ...{ dtype: { type: 'string', multiple: true }, threads: { type: 'string' } },
        ...{ device: { type: 'string' }, 'num-shard': { type: 'string' } },
      },
    });
    const dtypes = values.dtype ?? DEFAULT_DTYPES;
    const threads = Number(values.threads ?? 1);
    const { device = 'cpu' } = values;
    const shardCount = Number(values['num-shard'] ?? 1);
    const isUsable = positionals.length < 2 && dtypes.every(isDtype) && [threads, shardCount].every(isCount);
    if (!isUsable || !isDevice(device) || (device === 'cpu' && shardCount > 1)) return undefined;
    return { folder: positionals[0], dtypes, threads, device, shardCount };
  } catch {
    return undefined; // an unknown option
  }
}

function isCount(value: number): boolean {
  return Number.isInteger(value) && value > 0;
}

function isDtype(text: string): text is Dtype {
  return Object.hasOwn(PRECISIONS, text);
}

function isDevice(text: string): text is Arguments['device'] {
  return text === 'cpu' || text === 'cuda';
}
