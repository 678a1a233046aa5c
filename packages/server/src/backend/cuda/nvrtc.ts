/** Compiles kernels with NVRTC to machine code while the event loop stays free. Knows no files and no devices. */

import { LoraxError } from '../../base/errors.ts';
import type { Pointer, SharedLibrary } from '../../native/ffi.ts';

const PROTOTYPES = {
  version: 'int nvrtcVersion(void *major, void *minor)',
  createProgram:
    'int nvrtcCreateProgram(void *program, const char *source, const char *name, int headerCount, const char **headers, const char **includeNames)',
  destroyProgram: 'int nvrtcDestroyProgram(void *program)',
  logSize: 'int nvrtcGetProgramLogSize(void *program, void *size)',
  log: 'int nvrtcGetProgramLog(void *program, void *log)',
  cubinSize: 'int nvrtcGetCUBINSize(void *program, void *size)',
  cubin: 'int nvrtcGetCUBIN(void *program, void *cubin)',
} as const;

/** Takes seconds, and may run for several programs at the same time. */
const COMPILE_PROGRAM = 'int nvrtcCompileProgram(void *program, int optionCount, const char **options)';

type Size = BigUint64Array;

export interface Nvrtc {
  version(major: Int32Array, minor: Int32Array): number;
  createProgram(
    program: BigUint64Array,
    ...source: [source: string, name: string, headerCount: number, headers: string[], includeNames: string[]]
  ): number;
  compileProgram(program: Pointer, optionCount: number, options: string[]): Promise<number>;
  destroyProgram(program: BigUint64Array): number;
  logSize(program: Pointer, size: Size): number;
  log(program: Pointer, log: Uint8Array): number;
  cubinSize(program: Pointer, size: Size): number;
  cubin(program: Pointer, cubin: Uint8Array): number;
}

export function bindNvrtc(library: SharedLibrary): Nvrtc {
  const functions = Object.entries(PROTOTYPES).map(([name, prototype]) => [name, library.func(prototype)] as const);
  return { ...Object.fromEntries(functions), compileProgram: library.asyncFunc(COMPILE_PROGRAM) } as unknown as Nvrtc;
}

/** `13.0`. */
export function nvrtcVersion(nvrtc: Nvrtc): string {
  const [major, minor] = [new Int32Array(1), new Int32Array(1)];
  requireStatus(nvrtc.version(major, minor), 'asking for the version');
  return `${major[0]}.${minor[0]}`;
}

export interface KernelSource {
  readonly name: string;
  readonly text: string;
  /** What it includes, by name. */
  readonly headers: Readonly<Record<string, string>>;
}

/** The machine code. Throws ENGINE_LIBRARY with the compiler's words. */
export async function compileKernels(
  nvrtc: Nvrtc,
  source: KernelSource,
  options: readonly string[],
): Promise<Uint8Array> {
  const { name, text, headers } = source;
  const program = new BigUint64Array(1);
  const [names, texts] = [Object.keys(headers), Object.values(headers)];
  requireStatus(nvrtc.createProgram(program, text, name, names.length, texts, names), name);
  try {
    const handle = program[0]!;
    if ((await nvrtc.compileProgram(handle, options.length, [...options])) !== 0) {
      throw new LoraxError('ENGINE_LIBRARY', { reason: `${name} does not compile: ${readLog(nvrtc, handle)}` });
    }
    const size = new BigUint64Array(1);
    requireStatus(nvrtc.cubinSize(handle, size), name);
    const cubin = new Uint8Array(Number(size[0]));
    requireStatus(nvrtc.cubin(handle, cubin), name);
    return cubin;
  } finally {
    nvrtc.destroyProgram(program);
  }
}

function readLog(nvrtc: Nvrtc, program: Pointer): string {
  const size = new BigUint64Array(1);
  requireStatus(nvrtc.logSize(program, size), 'the log');
  const log = new Uint8Array(Number(size[0]));
  requireStatus(nvrtc.log(program, log), 'the log');
  return new TextDecoder().decode(log).replaceAll('\0', '').trim();
}

function requireStatus(status: number, what: string): void {
  if (status !== 0) throw new LoraxError('ENGINE_LIBRARY', { reason: `${what}: NVRTC reported status ${status}` });
}
