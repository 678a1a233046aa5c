/** A device of a FakeCuda with what a step is given to, for tests of that: notes every kernel and product, with its arguments. */

import { Owned } from '../../../base/owned.ts';
import type { MatmulPrecision } from '../../precision.ts';
import { AdapterProducts } from '../adapter-products.ts';
import type { Places } from '../adapter-table.ts';
import type { Architecture } from '../architecture.ts';
import { Arena } from '../arena.ts';
import { Cublas, type Product } from '../cublas.ts';
import { CudaDevice } from '../device.ts';
import { kernelFiles } from '../kernel-files.ts';
import type { Grid } from '../launch-configuration.ts';
import type { Argument } from '../launch-parameters.ts';
import { Program } from '../program.ts';
import type { RowDevice } from '../row-operations.ts';
import { Stream } from '../stream.ts';
import { FakeCuda, type Failure } from './fake-cuda.ts';

const HOPPER = { major: 9, minor: 0 };
const PROPERTIES = { index: 0, name: 'a card', totalBytes: 2 ** 33, multiprocessorCount: 4 };

export interface Launch {
  readonly name: string;
  readonly grid: Grid;
  readonly args: readonly Argument[];
}

export class FakeDevice {
  readonly cuda: FakeCuda;
  readonly device: CudaDevice;
  readonly stream: Stream;
  readonly arena: Arena;
  readonly launches: Launch[] = [];
  readonly products: Product[] = [];
  readonly #cublas: Cublas;
  readonly #owned = new Owned();

  constructor(failure?: Failure, architecture: Architecture = HOPPER) {
    this.cuda = new FakeCuda(failure);
    const modules = new Map(kernelFiles(architecture).map((file) => [file, new Uint8Array(1)]));
    this.device = this.#owned.add(new CudaDevice(this.cuda.libraries, { ...PROPERTIES, ...architecture }, modules));
    const { driver, cublas } = this.device;
    this.stream = this.#owned.add(new Stream(driver));
    this.#cublas = this.#owned.add(new Cublas(cublas, driver, this.stream.handle));
    this.arena = this.#owned.add(new Arena(this.device));
    this.#note();
  }

  /** A new program, with what its operations need. */
  begin(places: Places, precision: MatmulPrecision = 'high'): RowDevice {
    const program = new Program(this.device, this.stream);
    return { program, cublas: this.#cublas, adapters: new AdapterProducts(program, places, precision), precision };
  }

  /** How often a C function was called. */
  countCalls(name: string): number {
    return this.cuda.calls.filter((call) => call === name).length;
  }

  dispose(): void {
    this.#owned.dispose();
  }

  #note(): void {
    const { kernels } = this.device;
    const launch = kernels.launch.bind(kernels);
    kernels.launch = (stream, name, grid, ...args) => {
      this.launches.push({ name, grid, args });
      launch(stream, name, grid, ...args);
    };
    const multiply = this.#cublas.multiply.bind(this.#cublas);
    this.#cublas.multiply = (product) => {
      this.products.push(product);
      multiply(product);
    };
  }
}
