/** What the log hears of downloads and of the disk cache. Knows no logger; fields hold ids, file names and numbers. */

import { SourceFault } from './source-fault.ts';

export interface SourceLog {
  debug(fields: object, message: string): void;
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
}

/** A long transfer says where it is this often. */
const INTERVAL_MS = 10_000;
/** Files smaller than this are told of at debug level: every adapter has a handful. */
const SMALL_BYTES = 1 << 20;

export interface Transfer {
  readonly repo: string;
  readonly file: string;
  readonly sizeBytes: number;
}

/** Does the transfer and tells the log of its start, of its progress while it lasts, and of its end. */
export async function logged(
  log: SourceLog | undefined,
  { repo, file, sizeBytes }: Transfer,
  transfer: (onPosition: (bytes: number) => void) => Promise<void>,
  now: () => number = Date.now,
): Promise<void> {
  const level = sizeBytes < SMALL_BYTES ? 'debug' : 'info';
  const begunMs = now();
  let toldMs = begunMs;
  let receivedBytes = 0;
  const tell = (message: string, fields: object = {}): void => log?.[level]({ repo, file, ...fields }, message);
  const seconds = (): number => Number(((now() - begunMs) / 1000).toFixed(1));
  tell('downloading', { bytes: sizeBytes });
  try {
    await transfer((bytes) => {
      receivedBytes = bytes;
      if (now() - toldMs < INTERVAL_MS) return;
      toldMs = now();
      tell('still downloading', { receivedBytes, bytes: sizeBytes, seconds: seconds() });
    });
    tell('downloaded', { bytes: sizeBytes, seconds: seconds() });
  } catch (error) {
    // An abort's reason is the caller's own; what went wrong at the other end is said here.
    const reason = error instanceof SourceFault ? { reason: error.message } : {};
    tell('download stopped', { receivedBytes, bytes: sizeBytes, seconds: seconds(), ...reason });
    throw error;
  }
}
