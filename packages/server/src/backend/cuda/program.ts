/**
 * The operations of a step or draft: first all of them are written down with the memory that each names, then memory is
 * planned, inputs go up in one copy, and the operations are given to the device, one by one or as a graph. A program may run
 * again with other inputs. Knows nothing about what it computes.
 */

import { NULL, type Pointer } from '../../native/ffi.ts';
import type { Arena } from './arena.ts';
import { CapturedGraph } from './captured-graph.ts';
import type { CudaDevice } from './device.ts';
import { requireSuccess } from './driver.ts';
import { perElement } from './grids.ts';
import { layOutInputs, packInputs, type InputData } from './input-block.ts';
import type { KernelName } from './kernels.ts';
import type { Grid } from './launch-configuration.ts';
import type { Argument } from './launch-parameters.ts';
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
  | Argument
  | Slab
  | { readonly slab: Slab; readonly offset: number }
  | OptionalSlab
  | (() => Argument);

export class Program {
  readonly device: CudaDevice;
  readonly stream: Stream;
  readonly #operations: (() => void)[] = [];
  readonly #slabs = new Set<Slab>();
  readonly #inputs: Input[] = [];
  #plan: { readonly slabs: readonly Slab[]; readonly plan: SlabPlan } | undefined;
  /** Where the memory of the last run began; a graph holds addresses. */
  #start: Pointer = NULL;
  #graph: CapturedGraph | undefined;
  #runCount = 0;

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
    const operation = this.#operations.push(run) - 1;
    for (const slab of slabs) this.extend(slab, operation);
    return operation;
  }

  /** The operation names this slab too. */
  extend(slab: Slab, operation: number, isOptional = false): void {
    slab.use(operation, isOptional);
    this.#slabs.add(slab);
  }

  launch(name: KernelName, grid: Grid, ...args: LateArgument[]): number {
    const { kernels } = this.device;
    const operation = this.add([], () => kernels.launch(this.stream.handle, name, grid, ...args.map(resolve)));
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

  /** Gives the device all operations; they are done when the stream is. `what` names the program where memory is short. */
  run(arena: Arena, what: string): void {
    this.#upload(arena, what);
    this.#launchAll();
  }

  /** The same, from the second time on as a graph: a program that is run twice is likely to be run often. */
  runOften(arena: Arena, what: string): void {
    this.#upload(arena, what);
    if (this.#runCount++ === 0) return this.#launchAll();
    this.#graph ??= new CapturedGraph(this.device.driver, this.stream, () => this.#launchAll());
    this.#graph.launch(this.stream);
  }

  /** Once its work is done. */
  dispose(): void {
    this.#graph?.dispose();
    this.#graph = undefined;
  }

  #launchAll(): void {
    for (const operation of this.#operations) operation();
  }

  #upload(arena: Arena, what: string): void {
    const { slabs, plan } = (this.#plan ??= this.#makePlan());
    const inputs = layOutInputs(this.#inputs.map(({ slab }) => slab.bytes));
    const start = arena.reserve(plan.byteLength + inputs.byteLength, what);
    const inputStart = start + BigInt(plan.byteLength);
    if (start !== this.#start) {
      this.dispose();
      this.#start = start;
      for (const [i, slab] of slabs.entries()) slab.place(start + BigInt(plan.offsets[i]!));
      for (const [i, { slab }] of this.#inputs.entries()) slab.place(inputStart + BigInt(inputs.offsets[i]!));
    }
    if (inputs.byteLength === 0) return;
    const bytes = packInputs(
      this.#inputs.map(({ read }) => read()),
      inputs,
    );
    const { driver } = this.device;
    requireSuccess(driver.copyToDevice(inputStart, bytes, bytes.length, this.stream.handle), 'the inputs of a step');
  }

  #makePlan(): { readonly slabs: readonly Slab[]; readonly plan: SlabPlan } {
    const isInput = new Set(this.#inputs.map(({ slab }) => slab));
    const slabs = [...this.#slabs].filter((slab) => slab.isNeeded && !isInput.has(slab));
    slabs.sort((a, b) => a.first - b.first);
    return { slabs, plan: planSlabs(slabs) };
  }
}

function resolve(argument: LateArgument): Argument {
  if (typeof argument === 'function') return argument();
  if (typeof argument !== 'object') return argument;
  if (argument instanceof Slab) return argument.address;
  if ('optional' in argument) return argument.optional.isNeeded ? argument.optional.address : NULL;
  return argument.slab.address + BigInt(argument.offset);
}
