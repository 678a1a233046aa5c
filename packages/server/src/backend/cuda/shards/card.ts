/** One card in use, with what all shards on it share: its order of work, its products, its way up. */

import { Owned } from '../../../base/owned.ts';
import type { LoadDevice } from '../adapted-rows.ts';
import { Cublas } from '../cublas.ts';
import { CudaDevice, type DeviceProperties } from '../device.ts';
import type { KernelModules } from '../kernel-modules.ts';
import type { CudaLibraries } from '../libraries.ts';
import { Stream } from '../stream.ts';
import { Uploader } from '../uploader.ts';

export class Card implements LoadDevice {
  readonly device: CudaDevice;
  readonly stream: Stream;
  readonly cublas: Cublas;
  readonly uploader: Uploader;
  readonly #owned = new Owned();

  constructor(libraries: CudaLibraries, properties: DeviceProperties, modules: KernelModules) {
    try {
      this.device = this.#owned.add(new CudaDevice(libraries, properties, modules));
      const { driver, cublas } = this.device;
      this.stream = this.#owned.add(new Stream(driver));
      this.cublas = this.#owned.add(new Cublas(cublas, driver, this.stream.handle));
      this.uploader = this.#owned.add(new Uploader(this.device));
    } catch (error) {
      this.#owned.dispose();
      throw error;
    }
  }

  dispose(): void {
    this.#owned.dispose();
  }
}
