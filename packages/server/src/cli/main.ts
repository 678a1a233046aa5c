/** The `lorax` command: its subcommands and their flags. Loads a subcommand only when it runs. */

import { readFileSync } from 'node:fs';

import { Command, CommanderError } from 'commander';

import {
  declareGroups,
  declareServeOptions,
  declareTable,
  readServeOptions,
  readTable,
} from '../config/command-line.ts';
import { GENERATE_OPTIONS } from '../config/generate-options.ts';
import { endingOf, EXIT } from './exit.ts';
import { declareTrain } from './train-command.ts';

const MODEL_GROUPS = ['Model', 'Adapters', 'Engine', 'Limits', 'Logs'];

async function main(): Promise<number> {
  let code: number = EXIT.ok;
  const program = createProgram((ended) => (code = ended));
  try {
    await program.parseAsync();
    return code;
  } catch (error) {
    if (error instanceof CommanderError) return usageCode(error);
    const ending = endingOf(error);
    process.stderr.write(ending.text);
    return ending.code;
  }
}

function createProgram(end: (code: number) => void): Command {
  const { version } = readPackage();
  const program = new Command('lorax')
    .description('Serves one language model with any number of LoRA adapters in one batch.')
    .version(version)
    .exitOverride()
    // Commander puts its suggestion on a line of its own; an error is one line.
    .configureHelp({ optionDescription: (option) => option.description })
    .configureOutput({ outputError: (text, write) => write(`${text.trimEnd().replaceAll('\n', ' ')}\n`) });

  const serve = program.command('serve').description('Start the HTTP server').version(version);
  declareServeOptions(serve);
  serve.addHelpText('after', AFTER_SERVE).action(async () => {
    const read = readServeOptions(serve, { model: true });
    end(await (await import('./serve.ts')).serve(read));
  });

  const generate = program.command('generate').description('Answer one prompt in the terminal');
  declareTable(generate, GENERATE_OPTIONS);
  declareGroups(generate, MODEL_GROUPS);
  generate.action(async () => {
    const wanted = readTable(generate, GENERATE_OPTIONS);
    const { options } = readServeOptions(generate, { model: true });
    end(await (await import('./generate.ts')).generate(options, wanted));
  });

  const doctor = program.command('doctor').description('Tell what this machine is and whether a model fits');
  declareGroups(doctor, MODEL_GROUPS);
  doctor.action(async () => {
    const { options } = readServeOptions(doctor, { model: false });
    end(await (await import('./doctor.ts')).doctor(options));
  });

  declareTrain(program, end);

  program
    .command('version')
    .description('Print the version')
    .action(() => void process.stdout.write(`${version}\n`));
  return program.addHelpText('after', AFTER_PROGRAM);
}

const AFTER_PROGRAM = `
Start here:
  lorax serve --demo                 serve the bundled model and its adapters
  lorax serve --model-id DIR_OR_ID   serve your own
  lorax serve --help                 every option of the server`;

const AFTER_SERVE = `
Every option can also be given as an environment variable: --max-best-of 4 is MAX_BEST_OF=4. The flag wins.
LoRAX's other flags are accepted where they change no answer, and refused with the reason where they would.`;

/** Help and version are no errors; every other exit of commander's is a mistake in the command line. */
function usageCode({ exitCode }: CommanderError): number {
  return exitCode === 0 ? EXIT.ok : EXIT.usage;
}

function readPackage(): { readonly version: string } {
  return JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as { version: string };
}

const code = await main();
// Pipes may be written behind our back: what was printed goes out before the end.
await new Promise((resolve) => process.stdout.write('', resolve));
// A handle that somebody forgot to close must not keep a finished command alive.
process.exit(code);
