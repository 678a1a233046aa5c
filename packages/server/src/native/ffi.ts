/**
 * Configures koffi once, before the first library is loaded, and loads shared libraries.
 * Knows nothing about what the libraries do.
 */
import koffi from 'koffi';

/**
 * Calls run on koffi's own stacks, 2 MiB and for asynchronous ones 128 KiB unless told otherwise; ggml's compute needs
 * more and would crash the process. 8 MiB is what a thread of a C program has.
 */
koffi.config({ sync_stack_size: 8 << 20, async_stack_size: 8 << 20 });

/** A C pointer. */
export type Pointer = bigint;

export const NULL: Pointer = 0n;

type LibraryFunction = ReturnType<ReturnType<typeof koffi.load>['func']>;

export interface SharedLibrary {
  /** Declares one function by its C prototype. */
  func<T>(prototype: string): T;
  /** One whose calls run on threads of libuv's pool and are promises. What they point to must live until they settle. */
  asyncFunc<T>(prototype: string): T;
}

/** `global` makes the library's symbols visible to libraries loaded later, as ggml's parts need it. */
export function openLibrary(path: string, options: { readonly global: boolean }): SharedLibrary {
  const library = koffi.load(path, { global: options.global });
  return {
    func: <T>(prototype: string) => library.func(prototype) as unknown as T,
    asyncFunc: <T>(prototype: string) => callAside(library.func(prototype)) as unknown as T,
  };
}

function callAside(declared: LibraryFunction): (...args: unknown[]) => Promise<unknown> {
  return (...args) =>
    new Promise((resolve, reject) => {
      const settle = (error: Error | null, result: unknown): void => (error === null ? resolve(result) : reject(error));
      declared.async(...args, settle);
    });
}

const cLibrary = koffi.load(process.platform === 'win32' ? 'msvcrt.dll' : null);

const memcpy = cLibrary.func('void *memcpy(void *to, const void *from, size_t byteLength)');
const memcpyAside = callAside(memcpy);

/** Sets a variable of the environment that C libraries read, unless it is set. Not on Windows. */
export function suggestVariable(name: string, value: string): void {
  const setenv = cLibrary.func('int setenv(const char *name, const char *value, int overwrites)');
  setenv(name, value, 0);
}

/** Copies native memory to native memory. */
export function copyBytes(to: Pointer, from: Pointer, byteLength: number): void {
  memcpy(to, from, byteLength);
}

/** The same on a thread of libuv's pool, where pages may come from disk. Both places must live until it settles. */
export async function copyBytesAside(to: Pointer, from: Pointer, byteLength: number): Promise<void> {
  await memcpyAside(to, from, byteLength);
}

/** Zero-copy view of native memory; valid only while its owner keeps that memory. */
export function viewMemory(address: Pointer, byteLength: number): ArrayBuffer {
  return koffi.view(address, byteLength);
}

/** Where a buffer's bytes lie; valid for as long as somebody holds the buffer. */
export function addressOf(buffer: ArrayBuffer): Pointer {
  return koffi.address(buffer);
}

const PAGE_BYTES = 4096;

/** Reads one byte of every page, so that a mapped file's content is in memory. Returns the bytes' exclusive or. */
export function touchPages(address: Pointer, byteLength: number): number {
  const bytes = new Uint8Array(viewMemory(address, byteLength));
  let parity = 0;
  for (let offset = 0; offset < byteLength; offset += PAGE_BYTES) parity ^= bytes[offset]!;
  return parity;
}

/** Declares a struct that prototypes may name. */
export function declareStruct(name: string, fields: Readonly<Record<string, string>>): void {
  koffi.struct(name, fields);
}

/** Runs `action` while C may call `callback`, on this thread only. */
export function withCallback<T>(prototype: string, callback: () => void, action: (callback: Pointer) => T): T {
  const registered = koffi.register(callback, koffi.pointer(functionType(prototype)));
  try {
    return action(registered);
  } finally {
    koffi.unregister(registered);
  }
}

const functionTypes = new Map<string, ReturnType<typeof koffi.proto>>();

/** A function at an address that a library handed out. */
export function functionAt<T>(address: Pointer, prototype: string): T {
  return koffi.decode(address, functionType(prototype)) as T;
}

/** koffi keeps types by name for the life of the process and refuses a second one. */
function functionType(prototype: string): ReturnType<typeof koffi.proto> {
  const type = functionTypes.get(prototype) ?? koffi.proto(prototype);
  functionTypes.set(prototype, type);
  return type;
}
