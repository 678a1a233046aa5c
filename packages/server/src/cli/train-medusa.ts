/** `lorax train medusa`: trains heads and says how well they guess; progress and log go to stderr. */

import { basename } from 'node:path';

import type { ServeOptions } from '../config/options.ts';
import type { MedusaOptions } from '../config/train-options.ts';
import { createLogger } from '../telemetry/log.ts';
import { createProgress } from '../telemetry/progress.ts';
import { checkMedusaOptions, trainMedusa, type TrainedHeads } from '../training/train-medusa.ts';
import type { Composition } from './composition.ts';
import { loadComposition } from './composition.ts';
import { EXIT } from './exit.ts';
import { catchInterrupts } from './interrupt.ts';

/** Settles with the exit code. */
export async function trainMedusaCommand(
  options: ServeOptions,
  wanted: MedusaOptions,
  load: () => Promise<Pick<Composition, 'openTrainingBase'>> = loadComposition,
): Promise<number> {
  checkMedusaOptions(wanted);
  const log = createLogger({ level: options.logLevel, json: options.jsonOutput }, process.stderr);
  const interrupt = catchInterrupts((name) => log.info(`${name}: the same command goes on from here`));
  const tools = { log, progress: createProgress(process.stderr), signal: interrupt.signal };
  try {
    const { openTrainingBase } = await load();
    const base = await openTrainingBase(options, tools);
    try {
      process.stdout.write(report(await trainMedusa(base, wanted, tools)));
    } finally {
      await base.dispose();
    }
    return EXIT.ok;
  } catch (error) {
    if (interrupt.signal.aborted) return EXIT.interrupted;
    throw error;
  } finally {
    interrupt.dispose();
  }
}

function report({ folder, updateCount, evaluation }: TrainedHeads): string {
  const percent = (share: number | null): string => (share === null ? '-' : `${(100 * share).toFixed(1)} %`);
  const heads = (evaluation ?? []).map(
    ({ top1, top5 }, head) =>
      `  ${head + 2} tokens ahead: ${percent(top1)} at the first guess, ${percent(top5)} in five\n`,
  );
  return `${basename(folder)}: trained in ${updateCount} updates\n${heads.join('')}`;
}
