/** `npm run bench`: reads the command line, runs what it asks for, and reports. Its exit code does not judge the results. */

import { LoraxError } from '#server/base/errors.ts';
import { compareScenarios } from './compare.ts';
import { compareDrafting } from './drafting.ts';
import { HELP, readOptions } from './options.ts';
import { createReporter } from './report.ts';
import { tabulateRows } from './rows.ts';

try {
  const options = readOptions(process.argv.slice(2));
  if (options === undefined) process.stdout.write(HELP);
  else if (options.rows) await tabulateRows(options, options.rows, createReporter(options.jsonFile));
  else if (options.drafting) await compareDrafting(options, options.drafting, createReporter(options.jsonFile));
  else await compareScenarios(options, createReporter(options.jsonFile));
} catch (error) {
  if (!(error instanceof LoraxError)) throw error;
  process.stderr.write(`${error.message}\n`);
  process.exitCode = 1;
}
