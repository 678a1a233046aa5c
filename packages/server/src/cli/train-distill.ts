/** `lorax train distill`: has conversations answered by a running server; progress and log go to stderr. */

import type { DistillOptions } from '../config/train-options.ts';
import { createLogger } from '../telemetry/log.ts';
import { createProgress } from '../telemetry/progress.ts';
import { distill } from '../training/distill.ts';
import { EXIT } from './exit.ts';
import { catchInterrupts } from './interrupt.ts';

/** Settles with the exit code. */
export async function distillCommand(wanted: DistillOptions): Promise<number> {
  const log = createLogger({ level: 'info', json: false }, process.stderr);
  const interrupt = catchInterrupts((name) => log.info(`${name}: the same command goes on from here`));
  try {
    const tools = { log, progress: createProgress(process.stderr), signal: interrupt.signal };
    const { recordCount } = await distill(wanted, tools);
    process.stdout.write(`${recordCount} answered conversations\n`);
    return EXIT.ok;
  } catch (error) {
    if (interrupt.signal.aborted) return EXIT.interrupted;
    throw error;
  } finally {
    interrupt.dispose();
  }
}
