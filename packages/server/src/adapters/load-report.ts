/**
 * What became of an adapter's parts when it was loaded, as plain data for answers and logs. Its rule: nothing is left
 * out without a line here, and such a line fails the load unless the caller said `strict: false`. Knows no formats.
 */

import { shown } from '../weights/file-fault.ts';
import { DTYPE_BYTES, elementCount, type TensorView } from '../weights/tensor-view.ts';
import { adapterInvalid } from './adapter-invalid.ts';
import type { BaseCheck } from './base-check.ts';

export interface LoadReport {
  readonly adapterId: string;
  readonly strict: boolean;
  readonly baseModel: BaseCheck;
  /** In the model's order. */
  readonly modules: readonly ModuleReport[];
  readonly tensors: {
    readonly usedCount: number;
    /** In the adapter, and not applied. */
    readonly unused: TensorNotes;
    /** Promised by the configuration, and not in the adapter. */
    readonly missing: TensorNotes;
    /** There, and wrong for this model or configuration: no load forgives these. */
    readonly faults: TensorNotes;
  };
  readonly ignoredConfigFields: readonly string[];
  /** Of the tensors in use, as stored. */
  readonly totals: { readonly parameterCount: number; readonly bytes: number };
}

export interface ModuleReport {
  readonly path: string;
  readonly kind: 'linear' | 'embedding';
  /** Absent where the adapter has no low-rank factors here. */
  readonly rank?: number;
  readonly scale?: number;
  readonly dora: boolean;
  /** The low-rank product has a bias. */
  readonly loraBias: boolean;
  /** The adapter's own weight stands in for the base model's. */
  readonly replacesWeight: boolean;
  readonly replacesBias: boolean;
}

export interface TensorNote {
  readonly tensor: string;
  readonly reason: string;
}

/** A hostile file can have millions: all are counted, the first are told. */
export interface TensorNotes {
  readonly count: number;
  readonly first: readonly TensorNote[];
}

const TOLD_COUNT = 100;

class NoteList {
  #count = 0;
  readonly #first: TensorNote[] = [];

  add(name: string, reason: string): void {
    this.#count++;
    if (this.#first.length < TOLD_COUNT) this.#first.push({ tensor: shown(name), reason });
  }

  notes(): TensorNotes {
    return { count: this.#count, first: [...this.#first] };
  }
}

export interface ReportHead {
  readonly adapterId: string;
  readonly strict: boolean;
  readonly baseModel: BaseCheck;
  readonly ignoredConfigFields: readonly string[];
}

/** Collects what a mapping finds out. The verdict comes once, at the end, so that one answer tells all. */
export class ReportBuilder {
  readonly #head: ReportHead;
  readonly #modules: ModuleReport[] = [];
  readonly #used = new Set<TensorView>();
  readonly #unused = new NoteList();
  readonly #missing = new NoteList();
  readonly #faults = new NoteList();

  constructor(head: ReportHead) {
    this.#head = head;
  }

  used(tensors: readonly TensorView[]): void {
    for (const tensor of tensors) this.#used.add(tensor);
  }

  module(report: ModuleReport): void {
    this.#modules.push(report);
  }

  unused(name: string, reason: string): void {
    this.#unused.add(name, reason);
  }

  missing(name: string, reason: string): void {
    this.#missing.add(name, reason);
  }

  fault(name: string, reason: string): void {
    this.#faults.add(name, reason);
  }

  /** Throws ADAPTER_INVALID, with the report as its details, for what this load does not forgive. */
  verdict(): LoadReport {
    const report = this.#report();
    const { faults, missing, unused } = report.tensors;
    const reason =
      complaint('tensor', faults) ??
      (this.#head.strict ? (complaint('missing tensor', missing) ?? complaint('unused tensor', unused)) : undefined);
    if (reason !== undefined) throw adapterInvalid(this.#head.adapterId, reason, { details: report });
    if (this.#used.size > 0) return report;
    throw adapterInvalid(this.#head.adapterId, 'no tensor of it has a place in this model', { details: report });
  }

  #report(): LoadReport {
    const used = [...this.#used];
    return {
      ...this.#head,
      modules: [...this.#modules],
      tensors: {
        usedCount: used.length,
        unused: this.#unused.notes(),
        missing: this.#missing.notes(),
        faults: this.#faults.notes(),
      },
      totals: {
        parameterCount: used.reduce((sum, { shape }) => sum + elementCount(shape), 0),
        bytes: used.reduce((sum, { shape, dtype }) => sum + elementCount(shape) * DTYPE_BYTES[dtype], 0),
      },
    };
  }
}

function complaint(what: string, { count, first: [first] }: TensorNotes): string | undefined {
  if (first === undefined) return undefined;
  const others = count > 1 ? ` (and ${count - 1} more)` : '';
  return `${what} ${first.tensor}: ${first.reason}${others}`;
}

/** Of two parts of one adapter. */
export function joinReports(one: LoadReport, other: LoadReport): LoadReport {
  const notes = (which: 'unused' | 'missing' | 'faults'): TensorNotes => ({
    count: one.tensors[which].count + other.tensors[which].count,
    first: [...one.tensors[which].first, ...other.tensors[which].first].slice(0, TOLD_COUNT),
  });
  return {
    ...one,
    modules: [...one.modules, ...other.modules],
    tensors: {
      usedCount: one.tensors.usedCount + other.tensors.usedCount,
      ...{ unused: notes('unused'), missing: notes('missing'), faults: notes('faults') },
    },
    ignoredConfigFields: [...one.ignoredConfigFields, ...other.ignoredConfigFields],
    totals: {
      parameterCount: one.totals.parameterCount + other.totals.parameterCount,
      bytes: one.totals.bytes + other.totals.bytes,
    },
  };
}
