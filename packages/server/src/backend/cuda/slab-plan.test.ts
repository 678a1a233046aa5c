import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { alignedBytes, planSlabs, SLAB_ALIGNMENT, type SlabUse } from './slab-plan.ts';

const slab: fc.Arbitrary<SlabUse> = fc
  .record({ bytes: fc.nat(5000), first: fc.nat(20), life: fc.oneof(fc.nat(5), fc.constant(Infinity)) })
  .map(({ bytes, first, life }) => ({ bytes, first, last: first + life }));

describe('the plan of memory', () => {
  it('keeps apart what is needed at the same time, aligned and inside', () => {
    fc.assert(
      fc.property(fc.array(slab, { maxLength: 40 }), (given) => {
        const slabs = given.toSorted((a, b) => a.first - b.first);
        const { offsets, byteLength } = planSlabs(slabs);
        const places = slabs.map((use, i) => ({ ...use, start: offsets[i]!, end: offsets[i]! + use.bytes }));
        for (const [i, a] of places.entries()) {
          assert.ok(a.start % SLAB_ALIGNMENT === 0 && a.end <= byteLength);
          for (const b of places.slice(0, i)) {
            const together = a.first <= b.last && b.first <= a.last;
            assert.ok(!together || a.end <= b.start || b.end <= a.start);
          }
        }
      }),
    );
  });

  it('lets a chain of values take turns in the memory of two', () => {
    const chain = Array.from({ length: 50 }, (_, i) => ({ bytes: 1000, first: i, last: i + 1 }));
    assert.equal(planSlabs(chain).byteLength, 2 * alignedBytes(1000));
  });
});
