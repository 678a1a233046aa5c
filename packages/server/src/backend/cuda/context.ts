/**
 * Functions of CUDA's libraries as one card's parts of the backend call them: whatever card was used before on this thread,
 * each call finds the card's context current. Knows functions by their names alone.
 */

import type { Pointer } from '../../native/ffi.ts';
import type { Driver } from './driver.ts';

type Answer = (...args: never[]) => number;

/** A card that is lost refuses to become current; what is given back is given back all the same. */
const GIVES_BACK = /^(free|release|unmap|destroy|endCapture|moduleUnload)|Destroy$/;

/** Of this thread, as far as it is known: CUDA keeps one a thread, and all calls come from this one. */
let current: Pointer | undefined;

/** `refusal` is what functions answer on a card that cannot become current; undefined answers as the driver does. */
export function inContext<T extends object>(functions: T, driver: Driver, context: Pointer, refusal?: number): T {
  const entries = Object.entries(functions as Record<string, Answer>).map(([name, answer]) => {
    const answerInContext = (...args: never[]): number => {
      const status = current === context ? 0 : driver.setContext(context);
      current = status === 0 ? context : undefined;
      return status === 0 || GIVES_BACK.test(name) ? answer(...args) : (refusal ?? status);
    };
    return [name, answerInContext] as const;
  });
  return Object.fromEntries(entries) as unknown as T;
}

/** After calls of libraries that choose a card by themselves, and once a context is gone. */
export function forgetContext(): void {
  current = undefined;
}
