/**
 * Finds the first stop string in streamed text, wherever tokens begin and end. Knows nothing about tokens or streams.
 * An Aho-Corasick automaton over UTF-16 units: each unit costs amortised constant time, whatever the strings.
 */
import { assert } from '../base/assert.ts';

export interface StopProgress {
  /** What a stream that keeps the stop string adds now: the pushed text, cut right after the stop string. */
  readonly inclusive: string;
  /** What a stream that leaves the stop string out adds now: text that cannot be part of one any more. */
  readonly exclusive: string;
  /** The stop string that was found; nothing pushed after it counts. */
  readonly stop: string | undefined;
}

interface Node {
  readonly next: Map<number, Node>;
  /** The node of the longest proper suffix that is also the beginning of a stop string. */
  fallback: Node | undefined;
  /** Length of the text that this node stands for: how much must be held back here. */
  readonly depth: number;
  /** The longest stop string that ends here. */
  stop: string | undefined;
}

export class StopStringMatcher {
  readonly #root: Node;
  #state: Node;
  /** The last `state.depth` units, which may turn out to begin a stop string. */
  #held = '';
  #found = false;

  /** Stop strings must not be empty. */
  constructor(stops: readonly string[]) {
    assert(!stops.includes(''), 'an empty stop string');
    this.#root = automaton(stops);
    this.#state = this.#root;
  }

  /** Of several stop strings the one that ends first wins; of those that end together, the longest. */
  push(text: string): StopProgress {
    if (this.#found) return { inclusive: '', exclusive: '', stop: undefined };
    for (let index = 0; index < text.length; index++) {
      this.#state = step(this.#root, this.#state, text.charCodeAt(index));
      const { stop } = this.#state;
      if (stop === undefined) continue;
      this.#found = true;
      const inclusive = text.slice(0, index + 1);
      const exclusive = (this.#held + inclusive).slice(0, -stop.length);
      this.#held = '';
      return { inclusive, exclusive, stop };
    }
    const pending = this.#held + text;
    const safeLen = pending.length - this.#state.depth;
    this.#held = pending.slice(safeLen);
    return { inclusive: text, exclusive: pending.slice(0, safeLen), stop: undefined };
  }

  /** The text held back by `exclusive`, once no more will come. */
  flush(): string {
    const held = this.#held;
    this.#held = '';
    this.#state = this.#root;
    return held;
  }
}

function step(root: Node, from: Node, unit: number): Node {
  for (let node: Node | undefined = from; node !== undefined; node = node.fallback) {
    const next = node.next.get(unit);
    if (next !== undefined) return next;
  }
  return root;
}

function automaton(stops: readonly string[]): Node {
  const root: Node = { next: new Map(), fallback: undefined, depth: 0, stop: undefined };
  for (const stop of stops) insert(root, stop);
  // Breadth first: a node's fallback is shallower, so it is complete when the node needs it.
  const queue: Node[] = [root];
  for (const node of queue) {
    for (const [unit, child] of node.next) {
      child.fallback = node.fallback === undefined ? root : step(root, node.fallback, unit);
      child.stop ??= child.fallback.stop;
      queue.push(child);
    }
  }
  return root;
}

function insert(root: Node, stop: string): void {
  let node = root;
  for (let index = 0; index < stop.length; index++) {
    const unit = stop.charCodeAt(index);
    let child = node.next.get(unit);
    if (child === undefined) {
      child = { next: new Map(), fallback: undefined, depth: index + 1, stop: undefined };
      node.next.set(unit, child);
    }
    node = child;
  }
  node.stop = stop;
}
