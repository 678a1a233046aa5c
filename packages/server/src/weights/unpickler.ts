/**
 * A pickle machine that can build values and nothing else: only the opcodes that torch writes, and only the callables
 * that its host hands out. Opcodes: CPython's `pickletools.py`. Knows nothing about tensors and files.
 *
 * Everything is iterative and every opcode adds at most one value, so a limit on opcodes bounds time, memory and depth.
 */
import type { Fault } from './file-fault.ts';

/** Resolves what a pickle cannot contain itself. Both throw for what is not allowed. */
export interface PickleHost {
  /** What stands for `module.name`. Functions may be called by the pickle, so hand out harmless ones only. */
  global(qualifiedName: string): unknown;
  /** The object outside the pickle that an id stands for. */
  persistent(id: unknown): unknown;
  readonly fault: Fault;
}

/** A callable of a pickle: gets the argument tuple. */
export type PickleFunction = (args: readonly unknown[]) => unknown;

/** A `dict` or `OrderedDict`. Never a plain object: its keys come from outside. */
export class PickleDict {
  // Made when needed: a pickle may hold millions of empty ones.
  #items: Map<string | number, unknown> | undefined;

  /** False where the key was there already. */
  add(key: string | number, value: unknown): boolean {
    this.#items ??= new Map();
    if (this.#items.has(key)) return false;
    this.#items.set(key, value);
    return true;
  }

  entries(): Iterable<[string | number, unknown]> {
    return this.#items ?? [];
  }
}

/** About 28 opcodes a tensor, so room for 70 000 tensors; at worst 1.6 s of CPU and 160 MB (measured). */
const MAX_OPS = 2_000_000;

/** torch.save's default, the only one that torch.load's own restricted unpickler knows. */
const PROTOCOL = 2;

const STOP = 0x2e;
const NEWLINE = 0x0a;

const UTF_8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** The value that the pickle describes: null, boolean, number, string, array (list or tuple), `PickleDict`, or the host's. */
export function unpickle(bytes: Uint8Array, host: PickleHost): unknown {
  return new PickleMachine(bytes, host).run();
}

class PickleMachine {
  /** What a pickle may do; the host decides about the rest. */
  static readonly #ops: ReadonlyMap<number, (machine: PickleMachine) => void> = new Map<
    number,
    (machine: PickleMachine) => void
  >([
    [0x80, (m) => m.#protocol()], // PROTO
    [0x28, (m) => m.#mark()], // MARK
    [0x4e, (m) => m.#push(null)], // NONE
    [0x88, (m) => m.#push(true)], // NEWTRUE
    [0x89, (m) => m.#push(false)], // NEWFALSE
    [0x4b, (m) => m.#push(m.#uint8())], // BININT1
    [0x4d, (m) => m.#push(m.#view.getUint16(m.#take(2), true))], // BININT2
    [0x4a, (m) => m.#push(m.#view.getInt32(m.#take(4), true))], // BININT
    [0x8a, (m) => m.#push(m.#long(m.#uint8()))], // LONG1
    [0x47, (m) => m.#push(m.#view.getFloat64(m.#take(8), false))], // BINFLOAT
    [0x58, (m) => m.#push(m.#string(m.#uint32()))], // BINUNICODE
    [0x7d, (m) => m.#push(new PickleDict())], // EMPTY_DICT
    [0x5d, (m) => m.#push([])], // EMPTY_LIST
    [0x29, (m) => m.#push([])], // EMPTY_TUPLE
    [0x85, (m) => m.#push(m.#popMany(1))], // TUPLE1
    [0x86, (m) => m.#push(m.#popMany(2))], // TUPLE2
    [0x87, (m) => m.#push(m.#popMany(3))], // TUPLE3
    [0x74, (m) => m.#push(m.#popToMark())], // TUPLE
    [0x61, (m) => m.#append(m.#popMany(1))], // APPEND
    [0x65, (m) => m.#append(m.#popToMark())], // APPENDS
    [0x73, (m) => m.#setItems(m.#popMany(2))], // SETITEM
    [0x75, (m) => m.#setItems(m.#popToMark())], // SETITEMS
    [0x71, (m) => m.#remember(m.#uint8())], // BINPUT
    [0x72, (m) => m.#remember(m.#uint32())], // LONG_BINPUT
    [0x68, (m) => m.#recall(m.#uint8())], // BINGET
    [0x6a, (m) => m.#recall(m.#uint32())], // LONG_BINGET
    [0x63, (m) => m.#push(m.#host.global(`${m.#line()}.${m.#line()}`))], // GLOBAL
    [0x51, (m) => m.#push(m.#host.persistent(m.#pop()))], // BINPERSID
    [0x52, (m) => m.#reduce()], // REDUCE
    [0x62, (m) => m.#build()], // BUILD
  ]);

  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  readonly #host: PickleHost;
  readonly #stack: unknown[] = [];
  /** Stack heights at which a MARK was put. */
  readonly #marks: number[] = [];
  readonly #memo = new Map<number, unknown>();
  #at = 0;

  constructor(bytes: Uint8Array, host: PickleHost) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#host = host;
  }

  run(): unknown {
    for (let count = 0; count < MAX_OPS; count++) {
      const op = this.#uint8();
      if (op === STOP) return this.#result();
      const run = PickleMachine.#ops.get(op);
      if (run === undefined) throw this.#host.fault(`opcode 0x${op.toString(16).padStart(2, '0')} is not allowed`);
      run(this);
    }
    throw this.#host.fault('it has too many opcodes');
  }

  #protocol(): void {
    const protocol = this.#uint8();
    if (protocol !== PROTOCOL) throw this.#host.fault(`protocol ${protocol} is not read; torch writes ${PROTOCOL}`);
  }

  #reduce(): void {
    const [callable, args] = this.#popMany(2);
    if (typeof callable !== 'function' || !Array.isArray(args)) throw this.#host.fault('REDUCE calls a plain value');
    this.#push((callable as PickleFunction)(args));
  }

  /** Sets attributes in Python, for instance `_metadata` of a module's state dict: nothing here has any. */
  #build(): void {
    const [target, state] = this.#popMany(2);
    const isDict = target instanceof PickleDict && state instanceof PickleDict;
    if (!isDict) throw this.#host.fault('BUILD changes something other than a dict');
    this.#push(target);
  }

  #append(values: readonly unknown[]): void {
    const list = this.#top();
    if (!Array.isArray(list)) throw this.#host.fault('APPEND to something other than a list');
    for (const value of values) list.push(value);
  }

  #setItems(pairs: readonly unknown[]): void {
    const dict = this.#top();
    if (!(dict instanceof PickleDict) || pairs.length % 2 !== 0) throw this.#host.fault('SETITEM without a dict');
    for (let i = 0; i < pairs.length; i += 2) {
      const key = pairs[i];
      if (typeof key !== 'string' && typeof key !== 'number') throw this.#host.fault('a dict key is not a string');
      if (!dict.add(key, pairs[i + 1])) throw this.#host.fault('a dict has a key twice');
    }
  }

  #mark(): void {
    this.#marks.push(this.#stack.length);
  }

  #remember(index: number): void {
    this.#memo.set(index, this.#top());
  }

  #recall(index: number): void {
    if (!this.#memo.has(index)) throw this.#host.fault('it reads a memo that was never written');
    this.#push(this.#memo.get(index));
  }

  #result(): unknown {
    const value = this.#pop();
    if (this.#stack.length > 0 || this.#marks.length > 0) throw this.#host.fault('it leaves values behind');
    if (this.#at !== this.#bytes.length) throw this.#host.fault('it goes on after its end');
    return value;
  }

  #push(value: unknown): void {
    this.#stack.push(value);
  }

  #pop(): unknown {
    return this.#popMany(1)[0];
  }

  #top(): unknown {
    this.#require(1);
    return this.#stack.at(-1);
  }

  /** In the order in which they were pushed. */
  #popMany(count: number): unknown[] {
    this.#require(count);
    return this.#stack.splice(this.#stack.length - count);
  }

  #popToMark(): unknown[] {
    const mark = this.#marks.pop();
    if (mark === undefined) throw this.#host.fault('it lacks a MARK');
    return this.#stack.splice(mark);
  }

  /** Values below the last MARK are out of reach, as in Python. */
  #require(count: number): void {
    if (this.#stack.length - (this.#marks.at(-1) ?? 0) < count) throw this.#host.fault('it pops an empty stack');
  }

  #take(byteLength: number): number {
    const start = this.#at;
    if (byteLength > this.#bytes.length - start) throw this.#host.fault('it is cut short');
    this.#at += byteLength;
    return start;
  }

  #uint8(): number {
    return this.#view.getUint8(this.#take(1));
  }

  #uint32(): number {
    return this.#view.getUint32(this.#take(4), true);
  }

  #long(byteLength: number): number {
    const start = this.#take(byteLength);
    let value = 0n;
    for (let i = byteLength - 1; i >= 0; i--) value = (value << 8n) | BigInt(this.#bytes[start + i]!);
    const signed = Number(BigInt.asIntN(byteLength * 8, value));
    if (!Number.isSafeInteger(signed)) throw this.#host.fault('it has an integer of more than 53 bits');
    return signed;
  }

  #string(byteLength: number): string {
    const start = this.#take(byteLength);
    try {
      return UTF_8.decode(this.#bytes.subarray(start, start + byteLength));
    } catch {
      throw this.#host.fault('it has text that is not UTF-8');
    }
  }

  #line(): string {
    const end = this.#bytes.indexOf(NEWLINE, this.#at);
    if (end < 0) throw this.#host.fault('it is cut short');
    const line = this.#string(end - this.#at);
    this.#take(1);
    return line;
  }
}
