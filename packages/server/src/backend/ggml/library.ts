/**
 * Finds ggml's shared libraries (the npm package for this platform, or a folder of the user's), loads them and picks the
 * best CPU variant. Knows nothing about tensors.
 */

import { createRequire } from 'node:module';
import { readFileSync, readdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { LoraxError } from '../../base/errors.ts';
import { openLibrary, type Pointer } from '../../native/ffi.ts';
import { bindGgml, loadAllSilently, type Ggml } from './functions.ts';

/** The version that the prototypes in functions.ts were read from; another one may differ in any struct. */
const GGML_VERSION = '0.25.1';

const DEVICE_CPU = 0;

/** Package and, inside it, the folder of libraries. */
const PACKAGES: Readonly<Record<string, readonly [string, string]>> = {
  'linux-x64': ['@node-llama-cpp/linux-x64', 'linux-x64'],
  'linux-arm64': ['@node-llama-cpp/linux-arm64', 'linux-arm64'],
  'darwin-arm64': ['@node-llama-cpp/mac-arm64-metal', 'mac-arm64-metal'],
  'darwin-x64': ['@node-llama-cpp/mac-x64', 'mac-x64'],
  'win32-x64': ['@node-llama-cpp/win-x64', 'win-x64'],
  'win32-arm64': ['@node-llama-cpp/win-arm64', 'win-arm64'],
};

export interface GgmlLibrary {
  readonly ggml: Ggml;
  readonly directory: string;
  readonly version: string;
  /** The CPU variant that was chosen, for instance `zen4`; undefined where it cannot be told. */
  readonly variant: string | undefined;
  readonly cpuDevice: Pointer;
}

let loaded: { readonly directory: string; readonly library: GgmlLibrary } | undefined;

/** Loads ggml from `directory`, or from the npm package. A process can hold one ggml only. */
export function loadGgml(directory: string = packagedDirectory()): GgmlLibrary {
  if (loaded !== undefined && loaded.directory !== directory) {
    throw new LoraxError('ENGINE_LIBRARY', { reason: `${loaded.directory} is loaded already` });
  }
  loaded ??= { directory, library: open(directory) };
  return loaded.library;
}

function open(directory: string): GgmlLibrary {
  const files = listLibraries(directory);
  const basePath = find(files, /^(lib)?ggml-base\.(so|dylib|dll)$/, directory);
  const registryPath = find(files, /^(lib)?ggml(\.v[\d.]+)?\.(so|dylib|dll)$/, directory);
  const ggml = bind(join(directory, basePath), join(directory, registryPath));
  const version = ggml.version();
  if (version !== GGML_VERSION) {
    throw new LoraxError('ENGINE_LIBRARY', { reason: `${directory} holds ggml ${version}; ${GGML_VERSION} is needed` });
  }
  loadAllSilently(ggml, directory);
  const cpuDevice = ggml.deviceByType(DEVICE_CPU);
  if (!cpuDevice) throw new LoraxError('ENGINE_LIBRARY', { reason: `no CPU variant in ${directory} runs here` });
  return { ggml, directory, version, variant: loadedVariant(), cpuDevice };
}

function bind(basePath: string, registryPath: string): Ggml {
  try {
    return bindGgml(openLibrary(basePath, { global: true }), openLibrary(registryPath, { global: true }));
  } catch (cause) {
    throw new LoraxError('ENGINE_LIBRARY', { reason: (cause as Error).message }, { cause });
  }
}

function packagedDirectory(): string {
  const platform = `${process.platform}-${process.arch}`;
  const entry = PACKAGES[platform];
  if (entry === undefined) {
    throw new LoraxError('ENGINE_LIBRARY', { reason: `no prebuilt ggml for ${platform}: build it, use --ggml-path` });
  }
  const [name, folder] = entry;
  try {
    return join(dirname(createRequire(import.meta.url).resolve(name)), '..', 'bins', folder);
  } catch (cause) {
    throw new LoraxError('ENGINE_LIBRARY', { reason: `package ${name} is not installed` }, { cause });
  }
}

function listLibraries(directory: string): string[] {
  try {
    return readdirSync(directory);
  } catch (cause) {
    throw new LoraxError('ENGINE_LIBRARY', { reason: `cannot read ${directory}` }, { cause });
  }
}

function find(files: readonly string[], pattern: RegExp, directory: string): string {
  const found = files.find((file) => pattern.test(file));
  if (found === undefined) throw new LoraxError('ENGINE_LIBRARY', { reason: `${directory} has no ${pattern.source}` });
  return found;
}

/** ggml does not say which variant it chose, but on Linux the process's own memory map does. */
function loadedVariant(): string | undefined {
  if (process.platform !== 'linux') return undefined;
  return /ggml-cpu-(\w+)\.so/.exec(readFileSync('/proc/self/maps', 'utf8'))?.[1];
}
