import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { SpanAllocator } from './span-allocator.ts';

const CAPACITY = 24;

interface Span {
  readonly start: number;
  readonly length: number;
}

/** What the allocator promises, one boolean per unit. */
class Bitmap {
  readonly taken: boolean[] = Array.from({ length: CAPACITY }, () => false);

  firstFit(length: number): number | undefined {
    for (let start = 0; start + length <= CAPACITY; start++) {
      if (this.taken.slice(start, start + length).every((unit) => !unit)) return start;
    }
    return undefined;
  }

  mark({ start, length }: Span, value: boolean): void {
    this.taken.fill(value, start, start + length);
  }

  get largestGap(): number {
    const runs = this.taken.map((unit) => (unit ? ' ' : '.')).join('');
    return Math.max(...runs.split(' ').map((run) => run.length));
  }
}

/** Takes so many units, or gives back one of the spans in hand, whole or its end. */
type Action = { readonly take: number } | { readonly give: number; readonly keep: number };

const action: fc.Arbitrary<Action> = fc.oneof(
  fc.record({ take: fc.integer({ min: 1, max: CAPACITY + 1 }) }),
  fc.record({ give: fc.nat(100), keep: fc.nat(3) }),
);

describe('SpanAllocator', () => {
  it('takes and gives as a bitmap with first fit does', () => {
    fc.assert(
      fc.property(fc.array(action, { maxLength: 60 }), (actions) => {
        const allocator = new SpanAllocator(CAPACITY);
        const bitmap = new Bitmap();
        const spans: Span[] = [];
        for (const step of actions) {
          apply(step, allocator, bitmap, spans);
          allocator.checkIntegrity();
          assert.equal(allocator.used, bitmap.taken.filter(Boolean).length);
          assert.equal(allocator.largestGap, bitmap.largestGap);
        }
        for (const { start, length } of spans) allocator.give(start, length);
        assert.deepEqual([allocator.used, allocator.largestGap], [0, CAPACITY]);
      }),
      { seed: 1, numRuns: 300 },
    );
  });

  it('holds nothing when it is empty', () => {
    const allocator = new SpanAllocator(0);
    assert.equal(allocator.take(1), undefined);
    assert.equal(allocator.largestGap, 0);
    allocator.checkIntegrity();
  });

  it('tells that a span was given twice', () => {
    const allocator = new SpanAllocator(8);
    allocator.take(4);
    allocator.give(0, 4);
    assert.throws(() => allocator.give(2, 2), /returned twice/);
  });

  it('takes no empty span', () => {
    assert.throws(() => new SpanAllocator(8).take(0), /at least one unit/);
  });
});

function apply(step: Action, allocator: SpanAllocator, bitmap: Bitmap, spans: Span[]): void {
  if ('take' in step) {
    const start = allocator.take(step.take);
    assert.equal(start, bitmap.firstFit(step.take));
    if (start === undefined) return;
    spans.push({ start, length: step.take });
    bitmap.mark({ start, length: step.take }, true);
  } else if (spans.length > 0) {
    const [span] = spans.splice(step.give % spans.length, 1);
    const keptLen = Math.min(step.keep, span!.length - 1);
    const given = { start: span!.start + keptLen, length: span!.length - keptLen };
    allocator.give(given.start, given.length);
    bitmap.mark(given, false);
    if (keptLen > 0) spans.push({ start: span!.start, length: keptLen });
  }
}
