/** An adapter that is resident on all cards of a backend, and the rows of steps and drafts as one shard sees them. */

import type { AdapterSlot, AdapterTensors } from '../../adapters.ts';
import type { WeightedSlot } from '../../step.ts';
import type { CudaAdapterSlot } from '../adapter-slot.ts';
import type { RowSet } from '../row-set.ts';
import type { StepLayout } from '../step-layout.ts';
import { joinParts } from './sharded-weight.ts';

export interface ShardedSlot extends AdapterSlot {
  /** By shard. */
  readonly parts: readonly CudaAdapterSlot[];
  dispose(): void;
}

export function joinSlots({ weights }: AdapterTensors, parts: readonly CudaAdapterSlot[]): ShardedSlot {
  const own = weights.map((view) => {
    const { name } = view;
    const held = parts.map((part) => part.weights.get(name)!);
    return [name, joinParts(view, held)] as const;
  });
  return {
    byteLength: parts.reduce((sum, { byteLength }) => sum + byteLength, 0),
    weights: new Map(own),
    parts,
    dispose() {
      for (const part of parts) part.dispose();
    },
  };
}

/** All but the adapters is the same on every shard, and is shared. */
export function layoutAt(layout: StepLayout, shard: number): StepLayout {
  const adaptersAt = localAdapters(shard);
  const rowsAt = (set: RowSet): RowSet => ({ rows: set.rows.map(adaptersAt) });
  const rows = rowsAt(layout.rows);
  return { ...layout, rows, outputs: layout.outputs === layout.rows ? rows : rowsAt(layout.outputs) };
}

/** Lists of adapters as a shard has them. Rows that shared a list go on sharing one: kernels read the factors of such rows once. */
export function localAdapters(shard: number): (adapters: readonly WeightedSlot[]) => readonly WeightedSlot[] {
  const known = new Map<readonly WeightedSlot[], readonly WeightedSlot[]>();
  return (adapters) => {
    const local = known.get(adapters) ?? adapters.map(({ slot, weight }) => ({ slot: partAt(slot, shard), weight }));
    known.set(adapters, local);
    return local;
  };
}

function partAt(slot: AdapterSlot, shard: number): CudaAdapterSlot {
  return (slot as ShardedSlot).parts[shard]!;
}
