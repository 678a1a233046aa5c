/** Shows how far long work has come: a bar on a terminal, elsewhere a line every five seconds. Knows no particular work. */

import cliProgress from 'cli-progress';

import { formatBytes } from './bytes.ts';

const LINE_INTERVAL_MS = 5000;

export interface ProgressBar {
  advance(amount: number): void;
  /** Ends the display, whether all of the work was done or it failed. */
  done(): void;
}

export interface Progress {
  /** One bar at a time: the next starts when this one is done. Amounts are bytes unless `show` writes them otherwise. */
  start(label: string, total: number, show?: (amount: number) => string): ProgressBar;
}

export interface ProgressStream {
  write(text: string): unknown;
  readonly isTTY?: boolean;
}

export function createProgress(stream: ProgressStream | NodeJS.WriteStream, now: () => number = Date.now): Progress {
  if (stream instanceof Object && 'cursorTo' in stream && stream.isTTY) {
    return { start: (label, total, show = formatBytes) => startBar(stream, label, total, show) };
  }
  return { start: (label, total, show = formatBytes) => startLines(stream, now, label, total, show) };
}

type ShowAmount = (amount: number) => string;

function startBar(stream: NodeJS.WriteStream, label: string, total: number, show: ShowAmount): ProgressBar {
  const bar = new cliProgress.SingleBar(
    {
      stream,
      // The library's own signal handlers would end the process before the server could.
      gracefulExit: false,
      hideCursor: false,
      format: (options, params) => {
        const filled = cliProgress.Format.BarFormat(params.progress, options);
        return `${label} ${filled} ${percent(params.value, params.total)} of ${show(params.total)}`;
      },
    },
    cliProgress.Presets.shades_classic,
  );
  bar.start(total, 0);
  return { advance: (amount) => bar.increment(amount), done: () => bar.stop() };
}

function startLines(
  stream: ProgressStream,
  now: () => number,
  label: string,
  total: number,
  show: ShowAmount,
): ProgressBar {
  const startedMs = now();
  let shownMs = startedMs;
  let doneAmount = 0;
  const writeLine = (suffix: string) => {
    const share = `${percent(doneAmount, total)} of ${show(total)}`;
    stream.write(`${label}: ${share}${suffix}\n`);
  };
  return {
    advance(amount) {
      doneAmount += amount;
      if (now() - shownMs < LINE_INTERVAL_MS) return;
      shownMs = now();
      writeLine('');
    },
    done: () => writeLine(` in ${((now() - startedMs) / 1000).toFixed(1)} s`),
  };
}

function percent(value: number, total: number): string {
  return `${total === 0 ? 100 : Math.floor((100 * value) / total)} %`;
}
