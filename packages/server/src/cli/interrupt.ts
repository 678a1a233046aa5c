/** Turns SIGINT and SIGTERM into an abort signal. The second one ends the process at once. */

import { EXIT } from './exit.ts';

const SIGNALS = ['SIGINT', 'SIGTERM'] as const;

export interface Interrupt {
  readonly signal: AbortSignal;
  /** Settles at the first signal. */
  readonly happened: Promise<void>;
  /** Gives the signals back to Node's defaults. */
  dispose(): void;
}

/** `onFirst` tells the user that the end has begun. */
export function catchInterrupts(onFirst: (name: string) => void): Interrupt {
  const controller = new AbortController();
  const happened = new Promise<void>((resolve) => {
    controller.signal.addEventListener('abort', () => resolve(), { once: true });
  });
  const handle = (name: NodeJS.Signals) => {
    if (controller.signal.aborted) process.exit(EXIT.interrupted);
    onFirst(name);
    controller.abort(new Error(`ended by ${name}`));
  };
  for (const name of SIGNALS) process.on(name, handle);
  return {
    signal: controller.signal,
    happened,
    dispose: () => {
      for (const name of SIGNALS) process.off(name, handle);
    },
  };
}
