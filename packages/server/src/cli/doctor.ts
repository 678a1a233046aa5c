/** `lorax doctor`: what this machine is, which tensor library would be used how, and whether a model fits. */

import { existsSync } from 'node:fs';
import { statfs } from 'node:fs/promises';
import { arch, cpus, release, totalmem, type as osType } from 'node:os';
import { dirname } from 'node:path';

import { LoraxError } from '../base/errors.ts';
import { coresAllowed } from '../config/cores.ts';
import type { ServeOptions } from '../config/options.ts';
import { formatBytes } from '../telemetry/bytes.ts';
import type { BackendReport } from '../serving/describe-backend.ts';
import type { MemoryEstimate } from '../serving/memory-estimate.ts';
import { loadComposition } from './composition.ts';
import { EXIT } from './exit.ts';

type Row = readonly [label: string, text: string];

interface Finding {
  readonly rows: readonly Row[];
  readonly ok: boolean;
}

/** Settles with the exit code: 1 when the library cannot be used or the model does not fit. */
export async function doctor(options: ServeOptions): Promise<number> {
  let ok = true;
  const show = (finding: Finding) => {
    for (const [label, text] of finding.rows) process.stdout.write(`${label.padEnd(10)} ${text}\n`);
    ok &&= finding.ok;
  };
  show({ rows: machineRows(), ok: true });
  show({ rows: [await cacheRow(options.huggingfaceHubCache)], ok: true });
  const { describeEngine, estimateMemory } = await loadComposition();
  let available = availableBytes();
  const describe = async (): Promise<Finding> => {
    const engine = await describeEngine(options);
    available = engine.device.totalBytes ?? available;
    return { rows: engineRows(engine), ok: true };
  };
  show(await finding('engine', describe));
  if (options.demo || options.modelId !== undefined) {
    show(await finding('model', async () => memoryFinding(await estimateMemory(options), available)));
  } else {
    show({ rows: [['model', 'none named; --model-id or --demo tells how much memory one needs']], ok: true });
  }
  return ok ? EXIT.ok : EXIT.failure;
}

/** What cannot be found out for a reason that the user can act on is a finding too. */
async function finding(label: string, find: () => Promise<Finding>): Promise<Finding> {
  try {
    return await find();
  } catch (error) {
    if (!(error instanceof LoraxError) || error.code === 'OPTION_INVALID') throw error;
    return { rows: [[label, error.message]], ok: false };
  }
}

function machineRows(): Row[] {
  const processors = cpus();
  const cores = coresAllowed();
  return [
    ['system', `${osType()} ${release()} ${arch()}`],
    ['processor', `${processors[0]?.model ?? 'unknown'}, ${processors.length} cores`],
    ['cores', `${cores.value}: ${cores.because}`],
    ['memory', `${formatBytes(totalmem())}, of which ${formatBytes(availableBytes())} are available`],
    ['node', process.version],
  ];
}

function availableBytes(): number {
  return process.availableMemory();
}

async function cacheRow(folder: string): Promise<Row> {
  let existing = folder;
  while (!existsSync(existing) && dirname(existing) !== existing) existing = dirname(existing);
  const { bavail, bsize } = await statfs(existing);
  const state = existing === folder ? '' : ' (does not exist yet)';
  return ['cache', `${folder}${state}, ${formatBytes(bavail * bsize)} free`];
}

function engineRows({ library, version, variant, features, threads, device }: BackendReport): Row[] {
  return [
    ['engine', `${library} ${version}`],
    ['variant', features.length === 0 ? variant : `${variant} (${features.join(', ')})`],
    ['threads', `${threads.value}: ${threads.because}`],
    ['device', `${deviceName(device)}: ${device.because}`],
  ];
}

function deviceName({ name, totalBytes }: BackendReport['device']): string {
  return totalBytes === undefined ? name : `${name} with ${formatBytes(totalBytes)}`;
}

/** Exported for its test. */
export function memoryFinding(estimate: MemoryEstimate, available: number): Finding {
  const { modelId, modelType, parameters, dtype, totalBytes, maxTotalTokens } = estimate;
  const fits = totalBytes <= available;
  const perToken = formatBytes(estimate.kvBytesPerToken);
  const verdict = fits ? 'fits' : 'does not fit';
  return {
    ok: fits,
    rows: [
      ['model', `${modelId} (${modelType}), ${(parameters / 1e6).toFixed(1)} million parameters`],
      ['weights', `${formatBytes(estimate.weightBytes)} as ${dtype}`],
      ['KV cache', `${formatBytes(estimate.kvBytes)} for one sequence of ${maxTotalTokens} tokens, ${perToken} each`],
      ['adapters', `${formatBytes(estimate.adapterBytes)} for each of rank 16 on every linear layer`],
      ['total', `${formatBytes(totalBytes)} of ${formatBytes(available)} available: ${verdict}`],
    ],
  };
}
