/** Reads a command line as `lorax serve` does, under an environment that the test gives. For tests alone. */

import { Command } from 'commander';

import type { ReadOptions } from './command-line.ts';
import { declareServeOptions, readServeOptions, readTable } from './command-line.ts';
import type { GivenOptions } from './options.ts';
import { OPTIONS } from './options.ts';

type Env = Readonly<Record<string, string>>;

export function readServe(args: readonly string[], env: Env = {}, model = true): ReadOptions {
  return underEnv(env, () => readServeOptions(parsed(args), { model }));
}

/** Each value checked by itself, before the options are checked against each other. */
export function readGiven(args: readonly string[], env: Env = {}): GivenOptions {
  return underEnv(env, () => readTable(parsed(args), OPTIONS));
}

function parsed(args: readonly string[]): Command {
  const command = new Command('serve').exitOverride().configureOutput({ writeErr: () => {} });
  declareServeOptions(command);
  return command.parse(args, { from: 'user' });
}

/** Commander reads `process.env` itself, so the test's environment has to stand there. */
function underEnv<T>(env: Env, read: () => T): T {
  const original = process.env;
  process.env = { ...env };
  try {
    return read();
  } finally {
    process.env = original;
  }
}
