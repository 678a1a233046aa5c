/** Finds CUDA's shared libraries by name, where the system's loader looks for them. Knows no devices. */

import { LoraxError } from '../../base/errors.ts';
import { openLibrary, suggestVariable, type SharedLibrary } from '../../native/ffi.ts';
import { bindCublas, type CublasFunctions } from './cublas.ts';
import { bindDriver, type Driver } from './driver.ts';
import { bindNccl, type Nccl } from './nccl.ts';
import { bindNvrtc, type Nvrtc } from './nvrtc.ts';

export interface CudaLibraries {
  readonly driver: Driver;
  readonly nvrtc: Nvrtc;
  readonly cublas: CublasFunctions;
  /** Loaded once several cards compute together; throws ENGINE_LIBRARY where it is missing. */
  readonly openNccl: () => Nccl;
}

interface Wanted {
  /** Newest first; what they export under one name is the same. */
  readonly files: readonly string[];
  readonly comesWith: string;
}

const DRIVER: Wanted = { files: ['libcuda.so.1'], comesWith: "NVIDIA's driver" };
const NVRTC: Wanted = { files: ['libnvrtc.so.13', 'libnvrtc.so.12'], comesWith: "CUDA's runtime libraries" };
const CUBLAS: Wanted = { files: ['libcublas.so.13', 'libcublas.so.12'], comesWith: "CUDA's runtime libraries" };

const NCCL: Wanted = { files: ['libnccl.so.2'], comesWith: "NVIDIA's NCCL" };

let loaded: CudaLibraries | undefined;

/** Throws ENGINE_LIBRARY naming the library that is missing. */
export function loadCudaLibraries(): CudaLibraries {
  loaded ??= {
    driver: bindDriver(open(DRIVER)),
    nvrtc: bindNvrtc(open(NVRTC)),
    cublas: bindCublas(open(CUBLAS)),
    openNccl,
  };
  return loaded;
}

function openNccl(): Nccl {
  // What NCCL does for graphs that run side by side has been seen to block launches; here steps follow each other.
  suggestVariable('NCCL_GRAPH_MIXING_SUPPORT', '0');
  return bindNccl(open(NCCL));
}

function open({ files, comesWith }: Wanted): SharedLibrary {
  const reasons: unknown[] = [];
  for (const file of files) {
    try {
      return openLibrary(file, { global: false });
    } catch (reason) {
      reasons.push(reason);
    }
  }
  const reason = `${files.join(' or ')}, which comes with ${comesWith}, was not found`;
  throw new LoraxError('ENGINE_LIBRARY', { reason }, { cause: reasons[0] });
}
