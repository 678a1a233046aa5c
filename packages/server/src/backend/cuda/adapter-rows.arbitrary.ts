/** Adapters and rows that have them, for tests: any mix that a step could bring. */

import fc from 'fast-check';
import type { Dtype } from '../../weights/tensor-view.ts';
import type { WeightedSlot } from '../step.ts';
import type { CudaAdapterSlot, Reach } from './adapter-slot.ts';
import { Places } from './adapter-table.ts';
import type { RowSet } from './row-set.ts';

export const places = new Places();

export const everywhere: Reach = places.reach(['q', 'k', 'v', 'o', 'tokens'], [], []);

interface SlotTraits {
  readonly rank: number;
  readonly table?: bigint;
  readonly reach?: Reach;
  readonly factorDtype?: Dtype | undefined;
}

export function slotOf({ rank, table = 0n, reach = everywhere, ...traits }: SlotTraits): CudaAdapterSlot {
  const factorDtype = 'factorDtype' in traits ? traits.factorDtype : 'bfloat16';
  const held = { byteLength: 0, weights: new Map(), dispose: () => undefined };
  return { ...held, table, entryCount: Number(table) + 1, largestRank: rank, factorDtype, reach };
}

const slots: CudaAdapterSlot[] = [
  slotOf({ table: 1n, rank: 8 }),
  slotOf({ table: 2n, rank: 16 }),
  slotOf({ table: 3n, rank: 17 }),
  slotOf({ table: 4n, rank: 0 }),
  slotOf({ table: 5n, rank: 8, factorDtype: undefined }),
  slotOf({ table: 6n, rank: 8, reach: places.reach(['q', 'v'], [], []) }),
  slotOf({ table: 7n, rank: 8, reach: places.reach(['q', 'head'], ['head'], ['head']) }),
];

const anyList: fc.Arbitrary<readonly WeightedSlot[]> = fc.array(
  fc.record({ slot: fc.constantFrom(...slots), weight: fc.constantFrom(1, 0.5) }, { noNullPrototype: true }),
  { maxLength: 2 },
);

const anyRun = fc
  .record({ adapters: anyList, rowCount: fc.oneof(fc.integer({ min: 1, max: 5 }), fc.integer({ min: 30, max: 140 })) })
  .map(({ adapters, rowCount }) => Array.from({ length: rowCount }, () => adapters));

export const anyRows: fc.Arbitrary<RowSet> = fc.array(anyRun, { maxLength: 6 }).map((runs) => ({ rows: runs.flat() }));
