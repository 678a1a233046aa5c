/** The demo model that the tests serve, and what it is asked: sentences of our own, adapters as the server lists them. */

import { getJson } from './http.ts';

/** As the README has it. */
export const DEMO_ARGS: readonly string[] = ['--demo'];

/** For what does not depend on speed: one thread keeps the machine free for what runs beside it. */
export const QUIET_DEMO_ARGS: readonly string[] = [...DEMO_ARGS, '--threads', '1'];

export const PROMPTS = [
  'Once upon a time there was a little',
  'The old house stood at the end of the lane, and nobody',
  'My dear friend,',
  'When the train came to a stop, the two brothers looked out of the window and saw',
  '"I never said so," answered the girl,',
  'It rained for three days. On the fourth day',
];

/** Draft heads that work as the default ones only. */
const DEFAULT_ONLY = 'medusa-v1';

/** Ids of all adapters that the server offers without being asked for one by name, and that a request may name. */
export async function adapterIds(url: string): Promise<string[]> {
  const { data } = (await getJson(`${url}/v1/models`)) as { data: { id: string; parent: string | null }[] };
  return data.flatMap(({ id, parent }) => (parent === null || id === DEFAULT_ONLY ? [] : [id]));
}
