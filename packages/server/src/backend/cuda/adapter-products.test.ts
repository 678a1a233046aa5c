import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import type { EmbeddingTable, Projection, Weight } from '../backend.ts';
import { AdapterProducts } from './adapter-products.ts';
import { anyRows, everywhere, places, slotOf } from './adapter-rows.arbitrary.ts';
import { packUses, shapeUses, usesKey } from './adapter-uses.ts';
import type { InputData } from './input-block.ts';
import type { Grid } from './launch-configuration.ts';
import type { LateArgument } from './program.ts';
import type { RowSet } from './row-set.ts';
import { Slab } from './slab.ts';
import { elementsOf, FLOAT_BYTES, type CudaValue } from './values.ts';

interface Launch {
  readonly name: string;
  readonly grid: Grid;
  readonly args: readonly LateArgument[];
}

/** Operations as they are written down, without a device. */
class Notes {
  readonly launches: Launch[] = [];
  readonly inputs: { readonly byteLength: number; readonly read: () => InputData }[] = [];

  claim(bytes: number): Slab {
    return new Slab(bytes);
  }

  input(byteLength: number, read: () => InputData): Slab {
    this.inputs.push({ byteLength, read });
    return this.claim(byteLength);
  }

  launch(name: string, grid: Grid, ...args: LateArgument[]): number {
    return this.launches.push({ name, grid, args });
  }
}

const weight: Weight = { name: 'W', shape: [] };
const IN = 2048;

function projection(path: string, outFeatures: number): Projection {
  return { kind: 'linear', path, weight, bias: undefined, inFeatures: IN, outFeatures };
}

const attention = [projection('q', 2048), projection('k', 512), projection('v', 512)];
const head = projection('head', 3000);
const table: EmbeddingTable = { kind: 'embedding', path: 'tokens', weight, vocabSize: 3000, hiddenSize: IN };

function valueOf(notes: Notes, rowSet: RowSet, width: number): CudaValue {
  const value = { rows: rowSet.rows.length, width, offset: 0, stride: width, rowSet };
  return { ...value, slab: notes.claim(elementsOf(value) * FLOAT_BYTES) };
}

function record(rowSet: RowSet, groups: readonly (readonly Projection[])[] = [attention, [head]]): Notes {
  const notes = new Notes();
  const adapters = new AdapterProducts(notes, places, 'high');
  const x = valueOf(notes, rowSet, IN);
  adapters.embed(notes.claim(rowSet.rows.length * 4), x, table);
  for (const projections of groups) {
    const shrunk = adapters.shrink(x, projections);
    adapters.expand(
      shrunk,
      projections.map(({ outFeatures }) => valueOf(notes, rowSet, outFeatures)),
    );
  }
  return notes;
}

/** The same ahead of streamed products. */
function recordAddends(rowSet: RowSet, groups: readonly (readonly Projection[])[] = [attention]): Notes & Addends {
  const notes = new Notes();
  const adapters = new AdapterProducts(notes, places, 'medium');
  const operand = {
    slab: notes.claim(rowSet.rows.length * IN * 2),
    offset: 0,
    dtype: 'bfloat16',
    isSplit: false,
  } as const;
  const addends = adapters.onlyAdd(rowSet, groups.flat()) ? adapters.addends(operand, rowSet, groups) : [];
  return Object.assign(notes, { addends });
}

interface Addends {
  readonly addends: ReturnType<AdapterProducts['addends']>;
}

/** What a graph cannot change any more, with lengths in the place of addresses. */
function fixedPart({ launches }: Notes): unknown {
  return launches.map(({ name, grid, args }) => [name, grid, args.map(fixedArgument)]);
}

function fixedArgument(argument: LateArgument): unknown {
  if (argument instanceof Slab) return argument.bytes;
  return typeof argument === 'object' && 'slab' in argument ? [argument.slab.bytes, argument.offset] : argument;
}

function kernelNames(rowSet: RowSet, groups?: readonly (readonly Projection[])[]): string[] {
  return record(rowSet, groups).launches.map(({ name }) => name);
}

const one = [{ slot: slotOf({ table: 1n, rank: 16 }), weight: 1 }];

describe('adapters’ products', () => {
  it('are the same launches for all rows of one key', () => {
    fc.assert(
      fc.property(fc.array(anyRows, { minLength: 2, maxLength: 20 }), (sets) => {
        const known = new Map<string, unknown>();
        for (const { rows } of sets) {
          // Rows that fill a step up to its usual size have no adapters.
          const filled = { rows: [...rows, ...Array.from({ length: 840 - rows.length }, () => [])] };
          const key = usesKey(shapeUses({ rows }));
          const fixed = [fixedPart(record(filled)), fixedPart(recordAddends(filled))];
          assert.deepEqual(fixed, known.get(key) ?? fixed);
          known.set(key, fixed);
        }
      }),
    );
  });

  it('read the adapters that rows have when the program runs', () => {
    let { rows }: RowSet = { rows: [one, []] };
    const rowSet = {
      get rows() {
        return rows;
      },
    };
    const { inputs } = record(rowSet);
    assert.equal(inputs.length, 1);
    const other = [{ slot: slotOf({ table: 2n, rank: 9 }), weight: 0.5 }];
    rows = [[], other];
    assert.deepEqual(inputs[0]!.read(), packUses({ rows }, shapeUses({ rows })));
  });

  it('are there before their products where they only add to them, also for projections at which none enters', () => {
    const { launches, inputs, addends } = recordAddends({ rows: [one, [], one] }, [attention, [head]]);
    assert.deepEqual(
      launches.map(({ name }) => name),
      ['shrink_rows_2', 'expand_rows_2'],
    );
    assert.deepEqual(
      addends.map((addend) => addend?.values.bytes),
      [3 * 3072 * FLOAT_BYTES, undefined],
    );
    // Which rows there is anything for.
    assert.deepEqual(inputs.at(-1)!.read(), Int32Array.of(0b101, 0));
    const many = { rows: Array.from({ length: 64 }, (_, row) => (row === 40 || row === 31 ? one : [])) };
    assert.deepEqual(recordAddends(many).inputs.at(-1)!.read(), Int32Array.of(1 << 31, 1 << 8));
  });

  it('only add where they have factors and no more, and no tiles', () => {
    const adapters = new AdapterProducts(new Notes(), places, 'medium');
    const special = [{ slot: slotOf({ table: 5n, rank: 8, reach: places.reach(['q', 'k'], [], ['k']) }), weight: 1 }];
    const rowSet = { rows: [one, special] };
    assert.ok(adapters.onlyAdd({ rows: [one, []] }, attention));
    assert.ok(adapters.onlyAdd({ rows: [[], []] }, attention));
    assert.ok(!adapters.onlyAdd(rowSet, attention));
    assert.ok(adapters.onlyAdd(rowSet, [attention[0]!, head]));
    assert.ok(!adapters.onlyAdd({ rows: Array.from({ length: 40 }, () => one) }, attention));
  });

  it('take two launches for projections of one input', () => {
    assert.deepEqual(kernelNames({ rows: [one, []] }, [attention]), [
      'embed_adapters',
      'shrink_rows_1',
      'expand_rows_1',
    ]);
    const five = ['q', 'k', 'v', 'o', 'q'].map((path) => projection(path, 64));
    const names = ['shrink_rows_1', 'shrink_rows_1', 'expand_rows_1', 'expand_rows_1'];
    assert.deepEqual(kernelNames({ rows: [one, []] }, [five]).slice(1), names);
  });

  it('share factors between rows of one adapter, and put prompts on tensor cores', () => {
    const shared = { rows: [one, one, one, one] };
    assert.deepEqual(kernelNames(shared, [attention]).slice(1), ['shrink_rows_4', 'expand_rows_4']);
    assert.deepEqual(kernelNames({ rows: [one, [], one] }, [attention]).slice(1), ['shrink_rows_2', 'expand_rows_2']);
    const prompt = { rows: Array.from({ length: 70 }, () => one) };
    assert.deepEqual(kernelNames(prompt, [attention]).slice(1), ['shrink_tiles', 'expand_tiles']);
  });

  it('are nothing where no adapter of the rows enters', () => {
    assert.deepEqual(kernelNames({ rows: [[], []] }), []);
    assert.deepEqual(kernelNames({ rows: [one] }, [[head]]), ['embed_adapters']);
    assert.ok(!everywhere.paths.has('head'));
  });

  it('leave out factors where adapters only replace', () => {
    const replacing = slotOf({ table: 3n, rank: 0, reach: places.reach(['head'], ['head'], ['head']) });
    const names = kernelNames({ rows: [[{ slot: replacing, weight: 1 }]] }, [attention, [head]]);
    assert.deepEqual(names, ['replace_rows', 'expand_rows_1']);
  });
});
