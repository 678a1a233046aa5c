/** Declares `lorax train` and its subcommands. Loads a subcommand only when it runs. */

import type { Command } from 'commander';

import { declareGroups, declareTable, readServeOptions, readTable } from '../config/command-line.ts';
import { OPTIONS } from '../config/options.ts';
import { DISTILL_OPTIONS, MEDUSA_OPTIONS } from '../config/train-options.ts';

/** Of the server's options: the model, its adapter and what it is computed by. */
const BASE_GROUPS = ['Model', 'Logs'];
const { adapterId, adapterSource, adapterRoot, threads, ggmlPath } = OPTIONS;

export function declareTrain(program: Command, end: (code: number) => void): void {
  const train = program.command('train').description('Make training data and train Medusa heads');

  const distill = train.command('distill').description('Ask a running server for the answers to learn from');
  declareTable(distill, DISTILL_OPTIONS);
  distill.action(async () => {
    const wanted = readTable(distill, DISTILL_OPTIONS);
    end(await (await import('./train-distill.ts')).distillCommand(wanted));
  });

  const medusa = train.command('medusa').description('Train Medusa heads over a model, or over one of its adapters');
  declareTable(medusa, MEDUSA_OPTIONS);
  declareGroups(medusa, BASE_GROUPS);
  declareTable(medusa, {
    adapterId: { ...adapterId, help: 'Train over this adapter: the heads and it make a composite' },
    ...{ adapterSource, adapterRoot, threads, ggmlPath },
  });
  medusa.action(async () => {
    const wanted = readTable(medusa, MEDUSA_OPTIONS);
    const { options } = readServeOptions(medusa, { model: true });
    end(await (await import('./train-medusa.ts')).trainMedusaCommand(options, wanted));
  });
}
