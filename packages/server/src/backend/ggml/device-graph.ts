/**
 * A graph that is built again and again, and the memory that it is computed in: grows where a graph needs more tensors.
 * Knows nothing about what is computed.
 */

import { LoraxError } from '../../base/errors.ts';
import type { Pointer } from '../../native/ffi.ts';
import type { Ggml } from './functions.ts';
import { GraphContext, GraphFull } from './graph-context.ts';
import type { MatmulPrecision } from '../precision.ts';

/** Tensors to begin with; doubled whenever a graph needs more. */
const FIRST_CAPACITY = 8192;

export interface GraphDevice {
  readonly ggml: Ggml;
  /** Computes one graph at a time. */
  readonly backend: Pointer;
  readonly bufferType: Pointer;
  readonly precision: MatmulPrecision;
}

export class DeviceGraph {
  readonly #device: GraphDevice;
  readonly #allocator: Pointer;
  #context: GraphContext;

  constructor(device: GraphDevice) {
    this.#device = device;
    this.#allocator = device.ggml.graphAllocatorNew(device.bufferType);
    this.#context = new GraphContext(device.ggml, FIRST_CAPACITY, device.precision);
  }

  /** Lays the graph out by `make`, gives it memory and fills its inputs. `what` names it where memory is short. */
  build<T>(what: string, make: (context: GraphContext) => T): T {
    for (;;) {
      try {
        return this.#tryBuild(what, make);
      } catch (error) {
        if (!(error instanceof GraphFull)) throw error;
        const { capacity } = this.#context;
        this.#context.dispose();
        this.#context = new GraphContext(this.#device.ggml, capacity * 2, this.#device.precision);
      }
    }
  }

  /** Computes what was built last, on a thread of libuv's pool. Its results stay until the next build. */
  async compute(): Promise<void> {
    const status = await this.#device.ggml.compute(this.#device.backend, this.#context.graph);
    if (status !== 0) throw new LoraxError('GENERATION', { reason: `the device reported status ${status}` });
  }

  dispose(): void {
    this.#context.dispose();
    this.#device.ggml.graphAllocatorFree(this.#allocator);
  }

  #tryBuild<T>(what: string, make: (context: GraphContext) => T): T {
    this.#context.begin();
    const made = make(this.#context);
    if (!this.#device.ggml.graphAllocatorAlloc(this.#allocator, this.#context.graph)) {
      throw new LoraxError('OUT_OF_MEMORY', { what });
    }
    this.#context.fillInputs();
    return made;
  }
}
