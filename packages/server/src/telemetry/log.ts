/** The server's log: JSON lines for machines, plain lines for people, and never a credential in either. */

import { pino } from 'pino';

import { humanLine } from './human-log.ts';
import { hideSecrets } from './redact.ts';

export type Logger = pino.Logger;

export type LogLevel = 'trace' | 'debug' | 'info' | 'warn' | 'error' | 'silent';

export interface LogSettings {
  readonly level: LogLevel;
  readonly json: boolean;
}

export interface LogStream {
  write(text: string): unknown;
  /** Terminals say whether they and their user want colours. */
  hasColors?(): boolean;
}

/** Writes to `stream` at once and without a worker: a crash loses no line. */
export function createLogger({ level, json }: LogSettings, stream: LogStream = process.stdout): Logger {
  const coloured = stream.hasColors?.() ?? false;
  const settings: pino.LoggerOptions = {
    level,
    base: null,
    timestamp: pino.stdTimeFunctions.isoTime,
    formatters: { level: (label) => ({ level: label }) },
    hooks: { streamWrite: hideSecrets },
  };
  return pino(settings, { write: (line) => void stream.write(json ? line : humanLine(line, coloured)) });
}
