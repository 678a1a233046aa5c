/** Our kernels on one device: loaded there, launched by name. Knows not where their machine code comes from. */

import { countHandle } from '../../base/handles.ts';
import type { Pointer } from '../../native/ffi.ts';
import type { Architecture } from './architecture.ts';
import { requireSuccess, type Driver } from './driver.ts';
import { KERNEL_FILES, type KernelFile, type KernelName } from './kernel-files.ts';
import type { KernelModules } from './kernel-modules.ts';
import { LaunchConfiguration, type Grid } from './launch-configuration.ts';
import { LaunchParameters, type Argument, type Signature } from './launch-parameters.ts';

/** Of memory that the threads of a block share, without asking for more. */
const SHARED_BYTES = 48 * 1024;
/** `CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES` */
const MAX_SHARED_BYTES = 8;

/** From Hopper on. */
const FIRST_OVERLAPPING = 9;

interface Kernel {
  readonly handle: Pointer;
  readonly signature: Signature;
  /** That it may be launched with. */
  sharedBytes: number;
}

export class Kernels {
  readonly #driver: Driver;
  readonly #modules: Pointer[] = [];
  readonly #kernels = new Map<string, Kernel>();
  readonly #parameters = new LaunchParameters();
  readonly #configuration: LaunchConfiguration;

  constructor(driver: Driver, architecture: Architecture, modules: KernelModules) {
    this.#driver = driver;
    this.#configuration = new LaunchConfiguration(architecture.major >= FIRST_OVERLAPPING);
    try {
      for (const [file, code] of modules) this.#load(file, code);
    } catch (error) {
      this.dispose();
      throw error;
    }
  }

  /** Addresses are bigints; the others are what the kernel's signature says. */
  launch(stream: Pointer, name: KernelName, grid: Grid, ...args: Argument[]): void {
    const kernel = this.#kernels.get(name)!;
    const { handle, signature } = kernel;
    if (grid.sharedBytes !== undefined) this.#allowShared(kernel, grid.sharedBytes);
    this.#parameters.pack(signature, args);
    const configuration = this.#configuration.describe(stream, grid);
    requireSuccess(this.#driver.launch(configuration, handle, this.#parameters.places, null), `kernel ${name}`);
  }

  dispose(): void {
    for (const module of this.#modules) this.#driver.moduleUnload(module);
    if (this.#modules.length > 0) countHandle('cuda kernels', -1);
  }

  #allowShared(kernel: Kernel, bytes: number): void {
    if (bytes <= kernel.sharedBytes) return;
    const result = this.#driver.functionAttribute(kernel.handle, MAX_SHARED_BYTES, bytes);
    requireSuccess(result, `${bytes} bytes of shared memory`);
    kernel.sharedBytes = bytes;
  }

  #load(file: KernelFile, code: Uint8Array): void {
    const module = new BigUint64Array(1);
    requireSuccess(this.#driver.moduleLoad(module, code), `loading ${file}`);
    if (this.#modules.length === 0) countHandle('cuda kernels', 1);
    this.#modules.push(module[0]!);
    for (const [name, signature] of Object.entries<Signature>(KERNEL_FILES[file])) {
      const handle = new BigUint64Array(1);
      requireSuccess(this.#driver.moduleFunction(handle, module[0]!, name), `kernel ${name}`);
      this.#kernels.set(name, { handle: handle[0]!, signature, sharedBytes: SHARED_BYTES });
    }
  }
}
