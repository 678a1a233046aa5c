/** `lorax serve`: starts the server, says what to try, and ends it when a signal asks. */

import { LoraxError } from '../base/errors.ts';
import type { ReadOptions } from '../config/command-line.ts';
import type { ServeOptions } from '../config/options.ts';
import type { Logger } from '../telemetry/log.ts';
import { createLogger } from '../telemetry/log.ts';
import type { Progress } from '../telemetry/progress.ts';
import { createProgress } from '../telemetry/progress.ts';
import type { Composition, RunningServer } from './composition.ts';
import { loadComposition } from './composition.ts';
import { EXIT } from './exit.ts';
import type { Interrupt } from './interrupt.ts';
import { catchInterrupts } from './interrupt.ts';
import { nextSteps } from './next-steps.ts';

/** Settles with the exit code when the server has ended. */
export async function serve(
  { options, warnings }: ReadOptions,
  load: () => Promise<Pick<Composition, 'startServer'>> = loadComposition,
): Promise<number> {
  const log = createLogger({ level: options.logLevel, json: options.jsonOutput });
  for (const warning of warnings) log.warn(warning);
  // The reader of the log may go away; the server's clients have not.
  process.stdout.on('error', () => {});
  const interrupt = catchInterrupts((name) =>
    log.info(`${name}: no new requests; those in hand are being finished, a second ${name} ends at once`),
  );
  try {
    const server = await start(options, log, interrupt, load);
    if (server === undefined) return EXIT.interrupted;
    announce(server, options, log);
    await interrupt.happened;
    await server.close();
    log.info('the server has ended');
    return EXIT.ok;
  } finally {
    interrupt.dispose();
  }
}

/** Undefined when a signal came before the server was ready. */
async function start(
  options: ServeOptions,
  log: Logger,
  { signal }: Interrupt,
  load: () => Promise<Pick<Composition, 'startServer'>>,
): Promise<RunningServer | undefined> {
  try {
    const { startServer } = await load();
    return await startServer(options, { log, progress: progressFor(options, log), signal });
  } catch (error) {
    if (signal.aborted) return undefined;
    throw listenError(error, options) ?? error;
  }
}

/** With `--json-output` every line is JSON, progress too. */
function progressFor({ jsonOutput }: ServeOptions, log: Logger): Progress {
  return createProgress(jsonOutput ? { write: (line) => log.info(line.trimEnd()) } : process.stderr);
}

function announce(server: RunningServer, options: ServeOptions, log: Logger): void {
  const { url, modelId, adapters } = server;
  const { defaultAdapterSource } = options;
  if (options.jsonOutput) log.info({ url, modelId, adapters }, 'serving');
  else process.stdout.write(nextSteps({ url, modelId, adapters, defaultAdapterSource, needsKey: hasKeys(options) }));
}

function hasKeys({ apiKey, adminKey }: ServeOptions): boolean {
  return apiKey.length + adminKey.length > 0;
}

const LISTEN_REASONS: Readonly<Record<string, string>> = {
  EADDRINUSE: 'is in use by another program; choose another port, or 0 for a free one',
  EACCES: 'needs more rights than this process has; choose a port above 1023',
};

const HOST_REASONS: Readonly<Record<string, string>> = {
  EADDRNOTAVAIL: 'is no address of this machine',
  ENOTFOUND: 'cannot be resolved to an address',
  EAI_AGAIN: 'cannot be resolved to an address at present',
};

/** The user's words for an error of `listen`; undefined for any other error. */
function listenError(error: unknown, { port, hostname }: ServeOptions): LoraxError | undefined {
  if (!(error instanceof Error) || !('code' in error) || !('syscall' in error)) return undefined;
  const code = String(error.code);
  const ofPort = error.syscall === 'listen' ? LISTEN_REASONS[code] : undefined;
  if (ofPort !== undefined) return optionError('--port', `${port} on ${hostname} ${ofPort}`, error);
  const ofHost = HOST_REASONS[code];
  return ofHost === undefined ? undefined : optionError('--hostname', `${hostname} ${ofHost}`, error);
}

function optionError(option: string, reason: string, cause: Error): LoraxError {
  return new LoraxError('OPTION_INVALID', { option, reason }, { cause });
}
