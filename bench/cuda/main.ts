/** `npm run bench:cuda`: reads the command line, measures on a card, and reports. Its exit code does not judge the results. */

import { LoraxError } from '#server/base/errors.ts';
import { createReporter } from '../report.ts';
import { benchCard } from './bench-card.ts';
import { HELP, readCudaOptions } from './options.ts';

try {
  const options = readCudaOptions(process.argv.slice(2));
  if (options === undefined) process.stdout.write(HELP);
  else if (!(await benchCard(options, createReporter(options.jsonFile)))) process.exitCode = 1;
} catch (error) {
  if (!(error instanceof LoraxError)) throw error;
  process.stderr.write(`${error.message}\n`);
  process.exitCode = 1;
}
