import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { EvictionOrder, type EvictionShares } from './eviction-order.ts';

const SHARES: EvictionShares = { protectedCount: 3, protectedBytes: 10, ghostCount: 4 };

/** The same rules over plain lists, least recently used first. */
class Model {
  probation: { key: string; bytes: number }[] = [];
  kept: { key: string; bytes: number }[] = [];
  ghosts: string[] = [];

  has(key: string): boolean {
    return [...this.probation, ...this.kept].some((each) => each.key === key);
  }

  add(key: string, bytes: number): void {
    if (this.ghosts.includes(key)) this.#keep({ key, bytes });
    else this.probation.push({ key, bytes });
    this.ghosts = this.ghosts.filter((ghost) => ghost !== key);
  }

  touch(key: string): void {
    this.#keep(this.#take(key));
  }

  resize(key: string, bytes: number): void {
    [...this.probation, ...this.kept].find((each) => each.key === key)!.bytes = bytes;
    this.#fallBack();
  }

  remove(key: string, reason: 'evicted' | 'forgotten'): void {
    this.#take(key);
    if (reason === 'evicted') this.ghosts = [...this.ghosts, key].slice(-SHARES.ghostCount);
  }

  #take(key: string): { key: string; bytes: number } {
    const found = [...this.probation, ...this.kept].find((each) => each.key === key)!;
    this.probation = this.probation.filter((each) => each !== found);
    this.kept = this.kept.filter((each) => each !== found);
    return found;
  }

  #keep(entry: { key: string; bytes: number }): void {
    this.kept.push(entry);
    this.#fallBack();
  }

  #fallBack(): void {
    const bytes = (): number => this.kept.reduce((sum, each) => sum + each.bytes, 0);
    while (this.kept.length > SHARES.protectedCount || bytes() > SHARES.protectedBytes) {
      this.probation.push(this.kept.shift()!);
    }
  }
}

describe('the order of eviction', () => {
  it('is that of a simple model, whatever is done', () => {
    const key = fc.constantFrom('a', 'b', 'c', 'd', 'e', 'f', 'g', 'h');
    const action = fc.oneof(
      fc.record({ kind: fc.constant('use' as const), key, bytes: fc.integer({ min: 1, max: 6 }) }),
      fc.record({ kind: fc.constantFrom('resize' as const), key, bytes: fc.integer({ min: 0, max: 12 }) }),
      fc.record({ kind: fc.constantFrom('evicted' as const, 'forgotten' as const), key, bytes: fc.constant(0) }),
    );
    fc.assert(
      fc.property(fc.array(action, { maxLength: 60 }), (actions) => {
        const [order, model] = [new EvictionOrder(SHARES), new Model()];
        for (const { kind, key: of, bytes } of actions) {
          const isIn = model.has(of);
          for (const each of [order, model]) {
            if (kind === 'use' && isIn) each.touch(of);
            else if (kind === 'use') each.add(of, bytes);
            else if (isIn && kind === 'resize') each.resize(of, bytes);
            else if (isIn && kind !== 'resize') each.remove(of, kind);
          }
          assert.deepEqual(
            [...order.victims()],
            [...model.probation, ...model.kept].map((each) => each.key),
          );
        }
      }),
      { seed: 1, numRuns: 300 },
    );
  });

  it('lets a thousand that are used once pass by the ten that everyone uses', () => {
    const capacity = 16;
    const order = new EvictionOrder({ protectedCount: 12, protectedBytes: Infinity, ghostCount: 64 });
    const inside = new Set<string>();
    const use = (key: string): boolean => {
      if (inside.has(key)) {
        order.touch(key);
        return true;
      }
      if (inside.size === capacity) {
        const [victim] = order.victims();
        order.remove(victim!, 'evicted');
        inside.delete(victim!);
      }
      order.add(key, 1);
      inside.add(key);
      return false;
    };
    const popular = Array.from({ length: 10 }, (_, i) => `popular-${i}`);
    for (let round = 0; round < 2; round++) popular.forEach(use);
    for (let i = 0; i < 1000; i++) use(`once-${i}`);
    assert.deepEqual(
      popular.map(use),
      popular.map(() => true),
    );
  });

  it('learns what everyone uses while the scan goes on', () => {
    const order = new EvictionOrder({ protectedCount: 2, protectedBytes: Infinity, ghostCount: 8 });
    order.add('popular', 1);
    order.remove('popular', 'evicted');
    for (let i = 0; i < 7; i++) {
      order.add(`once-${i}`, 1);
      order.remove(`once-${i}`, 'evicted');
    }
    order.add('popular', 1);
    order.add('once', 1);
    assert.deepEqual([...order.victims()], ['once', 'popular']);
  });
});
