/** Shows how far long work has come: a bar on a terminal, elsewhere a line every five seconds. Knows no particular work. */

import cliProgress from 'cli-progress';

import { formatBytes } from './bytes.ts';

const LINE_INTERVAL_MS = 5000;

export interface ProgressBar {
  advance(bytes: number): void;
  /** Ends the display, whether all of the work was done or it failed. */
  done(): void;
}

export interface Progress {
  /** One bar at a time: the next starts when this one is done. */
  start(label: string, totalBytes: number): ProgressBar;
}

export interface ProgressStream {
  write(text: string): unknown;
  readonly isTTY?: boolean;
}

export function createProgress(stream: ProgressStream | NodeJS.WriteStream, now: () => number = Date.now): Progress {
  if (stream instanceof Object && 'cursorTo' in stream && stream.isTTY) {
    return { start: (label, totalBytes) => startBar(stream, label, totalBytes) };
  }
  return { start: (label, totalBytes) => startLines(stream, now, label, totalBytes) };
}

function startBar(stream: NodeJS.WriteStream, label: string, totalBytes: number): ProgressBar {
  const bar = new cliProgress.SingleBar(
    {
      stream,
      // The library's own signal handlers would end the process before the server could.
      gracefulExit: false,
      hideCursor: false,
      format: (options, params) => {
        const filled = cliProgress.Format.BarFormat(params.progress, options);
        return `${label} ${filled} ${percent(params.value, params.total)} of ${formatBytes(params.total)}`;
      },
    },
    cliProgress.Presets.shades_classic,
  );
  bar.start(totalBytes, 0);
  return { advance: (bytes) => bar.increment(bytes), done: () => bar.stop() };
}

function startLines(stream: ProgressStream, now: () => number, label: string, totalBytes: number): ProgressBar {
  const startedMs = now();
  let shownMs = startedMs;
  let doneBytes = 0;
  const show = (suffix: string) => {
    const share = `${percent(doneBytes, totalBytes)} of ${formatBytes(totalBytes)}`;
    stream.write(`${label}: ${share}${suffix}\n`);
  };
  return {
    advance(bytes) {
      doneBytes += bytes;
      if (now() - shownMs < LINE_INTERVAL_MS) return;
      shownMs = now();
      show('');
    },
    done: () => show(` in ${((now() - startedMs) / 1000).toFixed(1)} s`),
  };
}

function percent(value: number, total: number): string {
  return `${total === 0 ? 100 : Math.floor((100 * value) / total)} %`;
}
