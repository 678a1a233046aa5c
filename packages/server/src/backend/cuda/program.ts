/**
 * One shard's operations of a step or draft: first all of them are written down with the memory that each names, then memory
 * is planned, inputs go up in one copy, and the operations are given to the device. A program may run again with other
 * inputs. Knows nothing about what it computes.
 */

import { assert } from '../../base/assert.ts';
import { NULL, type Pointer } from '../../native/ffi.ts';
import type { Arena } from './arena.ts';
import type { CudaDevice } from './device.ts';
import { requireSuccess } from './driver.ts';
import { perElement } from './grids.ts';
import { InputBlock, type InputData } from './input-block.ts';
import type { KernelName } from './kernel-files.ts';
import type { Grid } from './launch-configuration.ts';
import type { Scalar } from './launch-parameters.ts';
import type { Meeting } from './shards/collectives.ts';
import { Slab } from './slab.ts';
import { planSlabs, type SlabPlan } from './slab-plan.ts';
import type { Stream } from './stream.ts';

/** Values from the host, read anew for each run. */
interface Input {
  readonly slab: Slab;
  readonly read: () => InputData;
}

/** Memory that an operation gets only where somebody needs what it writes there; else it gets null. */
interface OptionalSlab {
  readonly optional: Slab;
}

/** An argument that is known when the program runs; a function's slabs are named by `extend`. */
export type LateArgument =
  | Scalar
  | Slab
  | { readonly slab: Slab; readonly offset: number }
  | OptionalSlab
  | (() => Scalar);

/** Where slabs and inputs lie, from the beginning of a run's memory and behind the slabs. */
interface MemoryPlan {
  /** In the order of their offsets in `plan`. */
  readonly slabs: readonly Slab[];
  readonly plan: SlabPlan;
  readonly inputs: InputBlock;
}

/** What is given to the device, or what to bring to a meeting of all shards. */
type Operation = (() => void) | { readonly bring: () => Meeting };

export class Program {
  readonly device: CudaDevice;
  readonly stream: Stream;
  readonly #operations: Operation[] = [];
  readonly #slabs = new Set<Slab>();
  readonly #inputs: Input[] = [];
  #plan: MemoryPlan | undefined;
  /** Where the memory of the last run began. */
  #start: Pointer = NULL;

  constructor(device: CudaDevice, stream: Stream) {
    this.device = device;
    this.stream = stream;
  }

  claim(bytes: number): Slab {
    return new Slab(bytes);
  }

  /** What `read` gives has at most so many bytes in every run. */
  input(byteLength: number, read: () => InputData): Slab {
    const slab = this.claim(byteLength);
    this.#inputs.push({ slab, read });
    return slab;
  }

  /** What `run` gives the device names these slabs and no others. Returns the operation's number. */
  add(slabs: readonly Slab[], run: () => void): number {
    return this.#write(slabs, run);
  }

  /** The same for what all shards compute together, over these slabs. */
  meet(slabs: readonly Slab[], bring: () => Meeting): number {
    return this.#write(slabs, { bring });
  }

  /** The operation names this slab too. */
  extend(slab: Slab, operation: number, isOptional = false): void {
    slab.use(operation, isOptional);
    this.#slabs.add(slab);
  }

  launch(name: KernelName, grid: Grid, ...args: LateArgument[]): number {
    return this.launchWhere(() => true, name, grid, ...args);
  }

  /** As far as somebody wants it once all operations are written down. */
  launchWhere(isWanted: () => boolean, name: KernelName, grid: Grid, ...args: LateArgument[]): number {
    const { kernels } = this.device;
    const operation = this.add([], () => {
      if (isWanted()) kernels.launch(this.stream.handle, name, grid, ...args.map(resolve));
    });
    for (const argument of args) {
      if (typeof argument !== 'object') continue;
      if ('optional' in argument) this.extend(argument.optional, operation, true);
      else this.extend(argument instanceof Slab ? argument : argument.slab, operation);
    }
    return operation;
  }

  /** A kernel with a thread for each of `count` elements, which is its last argument. */
  launchOver(count: number, name: KernelName, ...args: LateArgument[]): number {
    return this.launch(name, perElement(count), ...args, count);
  }

  /** The slab's content stays until the arena is used again. */
  keep(slab: Slab): void {
    slab.keep();
  }

  /** Gives the device all operations, among which are no meetings; they are done when the stream is. */
  run(arena: Arena, what: string): void {
    this.prepare(arena, what);
    const { done } = this.give().next();
    assert(done, 'a program that runs alone meets no others');
  }

  /**
   * Finds memory for one run, and brings the inputs there. Returns whether the memory is that of the run before. `what` names
   * the program where memory is short.
   */
  prepare(arena: Arena, what: string): boolean {
    const { slabs, plan, inputs } = (this.#plan ??= this.#makePlan());
    const start = arena.reserve(plan.byteLength + inputs.bytes.length, what);
    const inputStart = start + BigInt(plan.byteLength);
    const stays = start === this.#start;
    if (!stays) {
      this.#start = start;
      for (const [i, slab] of slabs.entries()) slab.place(start + BigInt(plan.offsets[i]!));
      for (const [i, { slab }] of this.#inputs.entries()) slab.place(inputStart + BigInt(inputs.offsets[i]!));
    }
    this.#upload(inputStart, inputs);
    return stays;
  }

  /** Gives the device the operations one by one, and gives way where all shards meet. */
  *give(): Generator<Meeting, void> {
    for (const operation of this.#operations) {
      if (typeof operation === 'function') operation();
      else yield operation.bring();
    }
  }

  #write(slabs: readonly Slab[], written: Operation): number {
    const operation = this.#operations.push(written) - 1;
    for (const slab of slabs) this.extend(slab, operation);
    return operation;
  }

  #upload(to: Pointer, block: InputBlock): void {
    const { bytes } = block;
    if (bytes.length === 0) return;
    for (const [i, { read }] of this.#inputs.entries()) block.put(i, read());
    const { driver } = this.device;
    requireSuccess(driver.copyToDevice(to, bytes, bytes.length, this.stream.handle), 'the inputs of a step');
  }

  #makePlan(): MemoryPlan {
    const isInput = new Set(this.#inputs.map(({ slab }) => slab));
    const slabs = [...this.#slabs].filter((slab) => slab.isNeeded && !isInput.has(slab));
    slabs.sort((a, b) => a.first - b.first);
    return { slabs, plan: planSlabs(slabs), inputs: new InputBlock(this.#inputs.map(({ slab }) => slab.bytes)) };
  }
}

function resolve(argument: LateArgument): Scalar {
  if (typeof argument === 'function') return argument();
  if (typeof argument !== 'object') return argument;
  if (argument instanceof Slab) return argument.address;
  if ('optional' in argument) return argument.optional.isNeeded ? argument.optional.address : NULL;
  return argument.slab.address + BigInt(argument.offset);
}
