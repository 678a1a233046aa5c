/**
 * The operations of one step or draft: first all of them are written down with the memory that each names, then memory is
 * planned, inputs go up in one copy, and the operations are given to the device. Knows nothing about what they compute.
 */

import { assert } from '../../base/assert.ts';
import type { Pointer } from '../../native/ffi.ts';
import type { DeviceMemory } from './device-memory.ts';
import type { CudaDevice } from './device.ts';
import { requireSuccess } from './driver.ts';
import { perElement, type Grid, type KernelName } from './kernels.ts';
import type { Argument } from './launch-parameters.ts';
import { alignedBytes, planSlabs } from './slab-plan.ts';
import type { Stream } from './stream.ts';

/** Memory of one value while it is needed; its address is known once the operations run. */
export class Slab {
  readonly bytes: number;
  first = Infinity;
  last = -1;
  #address: Pointer | undefined;

  constructor(bytes: number) {
    this.bytes = bytes;
  }

  get address(): Pointer {
    assert(this.#address !== undefined, 'a slab has a place while its program runs');
    return this.#address;
  }

  place(address: Pointer): void {
    this.#address = address;
  }
}

type InputData = Int32Array | Float32Array | Uint8Array;

/** An argument that is known when the program runs. */
type LateArgument = Argument | Slab | { readonly slab: Slab; readonly offset: number };

/** A device's memory for one program after the other: grows, never shrinks. */
export class Arena {
  readonly #device: CudaDevice;
  #memory: DeviceMemory | undefined;

  constructor(device: CudaDevice) {
    this.#device = device;
  }

  /** At least `byteLength` bytes; what lay there before may be gone. */
  reserve(byteLength: number, what: string): Pointer {
    if (this.#memory === undefined || this.#memory.byteLength < byteLength) {
      this.dispose();
      this.#memory = this.#device.allocate(byteLength, what);
    }
    return this.#memory.address;
  }

  dispose(): void {
    this.#memory?.dispose();
    this.#memory = undefined;
  }
}

export class Program {
  readonly device: CudaDevice;
  readonly stream: Stream;
  readonly #operations: (() => void)[] = [];
  readonly #slabs = new Set<Slab>();
  readonly #inputs: { readonly slab: Slab; readonly data: InputData }[] = [];

  constructor(device: CudaDevice, stream: Stream) {
    this.device = device;
    this.stream = stream;
  }

  claim(bytes: number): Slab {
    return new Slab(bytes);
  }

  /** Values from the host. */
  input(data: InputData): Slab {
    const slab = this.claim(data.byteLength);
    this.#inputs.push({ slab, data });
    return slab;
  }

  /** What `run` gives the device names these slabs and no others. */
  add(slabs: readonly Slab[], run: () => void): void {
    const operation = this.#operations.push(run) - 1;
    for (const slab of slabs) {
      slab.first = Math.min(slab.first, operation);
      slab.last = Math.max(slab.last, operation);
      this.#slabs.add(slab);
    }
  }

  launch(name: KernelName, grid: Grid, ...args: LateArgument[]): void {
    const { kernels } = this.device;
    const slabs = args.flatMap((argument) => (typeof argument === 'object' ? [slabOf(argument)] : []));
    this.add(slabs, () => kernels.launch(this.stream.handle, name, grid, ...args.map(resolve)));
  }

  /** A kernel with a thread for each of `count` elements, which is its last argument. */
  launchOver(count: number, name: KernelName, ...args: LateArgument[]): void {
    this.launch(name, perElement(count), ...args, count);
  }

  /** The slab's content stays until the arena is used again. */
  keep(slab: Slab): void {
    slab.last = Infinity;
  }

  /** Gives the device all operations; they are done when the stream is. `what` names the program where memory is short. */
  run(arena: Arena, what: string): void {
    const isInput = new Set(this.#inputs.map(({ slab }) => slab));
    const slabs = [...this.#slabs].filter((slab) => !isInput.has(slab)).sort((a, b) => a.first - b.first);
    const plan = planSlabs(slabs);
    const inputs = packInputs(this.#inputs.map(({ data }) => data));
    const start = arena.reserve(plan.byteLength + inputs.bytes.byteLength, what);
    const inputStart = start + BigInt(plan.byteLength);
    for (const [i, slab] of slabs.entries()) slab.place(start + BigInt(plan.offsets[i]!));
    for (const [i, { slab }] of this.#inputs.entries()) slab.place(inputStart + BigInt(inputs.offsets[i]!));
    const { driver } = this.device;
    const { bytes } = inputs;
    if (bytes.length > 0) {
      requireSuccess(driver.copyToDevice(inputStart, bytes, bytes.length, this.stream.handle), 'the inputs of a step');
    }
    for (const operation of this.#operations) operation();
  }
}

/** One after the other in one block of host memory. Exported for its test. */
export function packInputs(inputs: readonly InputData[]): { readonly bytes: Uint8Array; readonly offsets: number[] } {
  const offsets: number[] = [];
  let end = 0;
  for (const { byteLength } of inputs) {
    offsets.push(end);
    end += alignedBytes(byteLength);
  }
  const bytes = new Uint8Array(end);
  for (const [i, { buffer, byteOffset, byteLength }] of inputs.entries()) {
    bytes.set(new Uint8Array(buffer, byteOffset, byteLength), offsets[i]);
  }
  return { bytes, offsets };
}

function slabOf(argument: Exclude<LateArgument, Argument>): Slab {
  return argument instanceof Slab ? argument : argument.slab;
}

function resolve(argument: LateArgument): Argument {
  if (typeof argument !== 'object') return argument;
  return argument instanceof Slab ? argument.address : argument.slab.address + BigInt(argument.offset);
}
