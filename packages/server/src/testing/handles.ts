/** What of the live native handles a test can ask to be as many as before. */

import { liveHandles } from '../base/handles.ts';

/** All but those of steps that a card has recorded: they stay for steps of their shape, until the backend goes. */
export function handlesBesideSteps(): Record<string, number> {
  return Object.fromEntries(Object.entries(liveHandles()).filter(([kind]) => kind !== 'cuda graph'));
}
