/** Which names an adapter may be given. Knows nothing about loading one. */

import { basename, isAbsolute } from 'node:path';
import { type AdapterReference, BASE_MODEL } from '../base/adapter-reference.ts';
import { invalidField } from '../base/errors.ts';
import type { Serving } from './serving.ts';

/** Throws where the name already means something else: requests for that would get another answer without a word. */
export function checkName(field: string, name: string, { id, source }: AdapterReference, serving: Serving): void {
  if (name === BASE_MODEL || name === serving.model.id) throw invalidField(field, 'is what the base model is called');
  if (serving.adapters.resolveName(name) !== undefined) return;
  const known = [...serving.listAdapters(), ...serving.adapters.statuses()].filter((adapter) => adapter.id === name);
  const isItsOwn = name === id || (isAbsolute(id) && basename(id) === name);
  if (known.every((adapter) => isItsOwn && adapter.source === source)) return;
  throw invalidField(field, 'is the id of another adapter');
}
