/**
 * Machine code of our kernels for one architecture: kept from an earlier start, or compiled, several files at the same time
 * while the event loop stays free. Knows no card and no kernel's name.
 */

import { mapLimited } from '../../base/limited.ts';
import { architectureName, compileTarget, type Architecture } from './architecture.ts';
import { kernelFiles, readKernelSource, type KernelFile } from './kernel-files.ts';
import { ModuleCache, type ModuleKey } from './module-cache.ts';
import { compileKernels, nvrtcVersion, type Nvrtc } from './nvrtc.ts';

/** As many as libuv's pool has threads: more would wait in its queue, from where nothing that fails could take them. */
const AT_ONCE = 4;

export type KernelModules = ReadonlyMap<KernelFile, Uint8Array>;

/** Whoever is told how far it has come. */
interface Watch {
  advance(fileCount: number): void;
  /** All were compiled, or it broke off. */
  done(): void;
}

export interface Compilation {
  /** Where machine code is kept. */
  readonly cacheFolder: string;
  /** Lets what is under way end, and begins nothing more. */
  readonly signal: AbortSignal;
  /** Where some were not kept. */
  readonly onCompiling?: ((architecture: string, fileCount: number) => Watch) | undefined;
}

/** Throws ENGINE_LIBRARY where a file does not compile; those that did are kept. */
export async function compileModules(
  nvrtc: Nvrtc,
  architecture: Architecture,
  { cacheFolder, signal, onCompiling }: Compilation,
): Promise<KernelModules> {
  const cache = new ModuleCache(cacheFolder);
  const files = describeFiles(nvrtc, architecture).map(({ file, key }) => ({ file, key, kept: cache.find(key) }));
  const missingCount = files.filter(({ kept }) => kept === undefined).length;
  const watch = missingCount > 0 ? onCompiling?.(architectureName(architecture), missingCount) : undefined;
  try {
    const modules = await mapLimited(files, AT_ONCE, signal, async ({ file, key, kept }) => {
      if (kept !== undefined) return [file, kept] as const;
      const code = await compileKernels(nvrtc, key.source, key.options);
      cache.keep(key, code);
      watch?.advance(1);
      return [file, code] as const;
    });
    return new Map(modules);
  } finally {
    watch?.done();
  }
}

function describeFiles(nvrtc: Nvrtc, architecture: Architecture): { file: KernelFile; key: ModuleKey }[] {
  const options = [`--gpu-architecture=${compileTarget(architecture)}`, '--std=c++17'];
  const compilerVersion = nvrtcVersion(nvrtc);
  return kernelFiles(architecture).map((file) => {
    return { file, key: { source: readKernelSource(file), options, compilerVersion } };
  });
}
