/** A draft from rows that a step left behind, written down for all shards. Knows no heads and no model. */

import { present } from '../../../base/assert.ts';
import type { DraftForward } from '../../backend.ts';
import type { DraftRow } from '../../step.ts';
import type { Program } from '../program.ts';
import type { ShardGroup } from '../recorded-step.ts';
import type { Shard } from './shard.ts';
import { chooseTokens, type ChoiceSlab } from '../row-choices.ts';
import type { RowSet } from '../row-set.ts';
import { elementsOf, newValue, type CudaValue } from '../values.ts';
import { JointProgram } from './joint-program.ts';
import { localAdapters } from './sharded-slot.ts';

export interface DraftSource {
  readonly rows: readonly DraftRow[];
  /** By row: which of the step's output rows it is. */
  readonly chosen: Int32Array;
  /** Hidden states of all output rows, by shard. */
  readonly hidden: readonly (CudaValue | undefined)[];
}

export interface WrittenDraft {
  /** In the memory of the first shard, once it has run. */
  readonly logits: CudaValue;
  readonly choices: ChoiceSlab;
  /** The draft is done when all streams are. */
  run(what: string): void;
}

export function writeDraft(
  { shards, collectives }: ShardGroup<Shard>,
  forward: DraftForward,
  source: DraftSource,
): WrittenDraft {
  const written = shards.map((shard, index) => {
    const device = shard.beginProgram();
    const adaptersAt = localAdapters(index);
    const rowSet = { rows: source.rows.map(({ adapters }) => adaptersAt(adapters)) };
    const hidden = gatherRows(device.program, source, index, rowSet);
    return { program: device.program, logits: forward(shard.draftGraph(device), hidden) as CudaValue };
  });
  const { program, logits } = present(written[0], 'a shard');
  const choices = chooseTokens(program, logits, undefined);
  program.keep(logits.slab);
  const joint = new JointProgram(
    written.map((each) => each.program),
    collectives,
  );
  const arenas = shards.map(({ draftArena }) => draftArena);
  return { logits, choices, run: (what) => joint.run(arenas, what) };
}

/** Hidden states of the rows that are drafted from, in their order. */
function gatherRows(program: Program, { chosen, hidden }: DraftSource, shard: number, rowSet: RowSet): CudaValue {
  const { slab, offset, width } = present(hidden[shard], 'hidden states of the last step');
  const value = newValue(program, width, rowSet);
  const indices = program.input(chosen.byteLength, () => chosen);
  const from = slab.address + BigInt(offset);
  program.launchOver(elementsOf(value), 'gather_rows', value, from, indices, width);
  return value;
}
