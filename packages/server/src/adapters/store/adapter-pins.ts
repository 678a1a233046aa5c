/** Which ids stay resident. A pin follows its id: when the id stands for new content, that is pinned and the old one is free. */

import type { AdapterRecord } from './adapter-catalog.ts';
import type { NamedAdapter } from './adapter-names.ts';

export interface PinsContents {
  pin(generation: string): void;
  unpin(generation: string): void;
}

export class AdapterPins {
  readonly #contents: PinsContents;
  /** Pinned generation by source and id. */
  readonly #pins = new Map<string, string>();

  constructor(contents: PinsContents) {
    this.#contents = contents;
  }

  /** The record's content must be resident and leased by the caller. */
  pin(record: AdapterRecord): void {
    const { generation } = record;
    const pinned = this.#pins.get(keyOf(record));
    if (generation === undefined || pinned === generation) return;
    this.#contents.pin(generation);
    this.#pins.set(keyOf(record), generation);
    if (pinned !== undefined) this.#contents.unpin(pinned);
  }

  /** After a use of the record: moves its id's pin, if there is one, to its content. */
  follow(record: AdapterRecord): void {
    if (this.#pins.has(keyOf(record))) this.pin(record);
  }

  unpin(adapter: NamedAdapter): void {
    const pinned = this.#pins.get(keyOf(adapter));
    this.#pins.delete(keyOf(adapter));
    if (pinned !== undefined) this.#contents.unpin(pinned);
  }

  isPinnedByOthers(generation: string, adapter: NamedAdapter): boolean {
    return [...this.#pins].some(([key, pinned]) => pinned === generation && key !== keyOf(adapter));
  }
}

function keyOf({ id, source }: NamedAdapter): string {
  return `${source} ${id}`;
}
