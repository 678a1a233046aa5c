/** Names that the adapter API gave to adapters. A name opens nothing: whoever uses one is checked as if he used the id. */

import { BASE_MODEL, type AdapterReference, type AdapterSource } from '../../base/adapter-reference.ts';
import { invalidField } from '../../base/errors.ts';

export type NamedAdapter = Pick<AdapterReference, 'id' | 'source'>;

const MAX_NAMES = 4096;
/** As an id may look, so that a name can stand wherever an id does. */
const NAME = /^[\w.:@/-]{1,256}$/;

export class AdapterNames {
  readonly #adapters = new Map<string, NamedAdapter>();

  /** Beside a source stands an id, never a name. */
  resolve(name: string, source?: AdapterSource): NamedAdapter | undefined {
    return source === undefined ? this.#adapters.get(name) : undefined;
  }

  /** Throws VALIDATION for what can be nobody's name, before anything is loaded for it. */
  check(name: string): void {
    if (!NAME.test(name)) throw invalidField('name', 'has 1 to 256 characters: letters, digits and _ . : @ / -');
    if (name === BASE_MODEL) throw invalidField('name', 'is the name of the base model');
    if (!this.#adapters.has(name) && this.#adapters.size >= MAX_NAMES) {
      throw invalidField('name', `is one too many; ${MAX_NAMES} are given`);
    }
  }

  /** Throws VALIDATION where the name stands for another adapter, unless it is to be moved. */
  give(name: string, { id, source }: NamedAdapter, mayMove: boolean): void {
    this.check(name);
    const holder = this.#adapters.get(name);
    if (holder !== undefined && !mayMove && (holder.id !== id || holder.source !== source)) {
      throw invalidField('name', `is already the name of \`${holder.id}\` from source \`${holder.source}\``);
    }
    this.#adapters.set(name, { id, source });
  }

  namesOf({ id, source }: NamedAdapter): string[] {
    const entries = [...this.#adapters];
    return entries.filter(([, named]) => named.id === id && named.source === source).map(([name]) => name);
  }

  take(name: string): void {
    this.#adapters.delete(name);
  }
}
