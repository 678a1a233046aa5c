/**
 * Maps files read-only into memory, so that weights go from the page cache to the backend without a copy.
 * Owns the mapping; knows nothing about what the bytes mean.
 */
import { closeSync, constants, fstatSync, openSync } from 'node:fs';
import { basename } from 'node:path';
import koffi from 'koffi';
import { assert } from '../base/assert.ts';
import { LoraxError } from '../base/errors.ts';
import { countHandle } from '../base/handles.ts';
import { NULL, viewMemory, type Pointer } from './ffi.ts';

/** Node 20 aborts the process on a view over 4 GiB instead of throwing; nobody needs a quarter of that at once. */
const MAX_VIEW_BYTES = 2 ** 30;

// The same numbers on Linux (glibc and musl) and macOS.
const PROT_READ = 1;
const MAP_PRIVATE = 2;
const MADV_WILLNEED = 3;
const MAP_FAILED: Pointer = 2n ** 64n - 1n;

interface MemoryCalls {
  readonly mmap: (hint: null, byteLength: number, prot: number, flags: number, fd: number, offset: number) => Pointer;
  readonly munmap: (address: Pointer, byteLength: number) => number;
  readonly madvise: (address: Pointer, byteLength: number, advice: number) => number;
}

let memoryCalls: MemoryCalls | undefined;

/**
 * A read-only private mapping of one whole file. The file may be renamed, replaced or deleted meanwhile; truncating it
 * in place makes the kernel end the process at the next read of a lost page (SIGBUS), which no check here can prevent:
 * writers must replace model files by renaming, as every downloader does.
 */
export class MappedFile {
  readonly byteLength: number;
  readonly #address: Pointer;
  #disposed = false;

  private constructor(address: Pointer, byteLength: number) {
    this.#address = address;
    this.byteLength = byteLength;
    countHandle('mapping', 1);
  }

  /** Throws `FILE_INVALID` where the path is not a readable regular file, `ENGINE_LIBRARY` where files cannot be mapped. */
  static open(path: string): MappedFile {
    const fd = openForReading(path);
    try {
      const status = fstatSync(fd);
      if (!status.isFile())
        throw new LoraxError('FILE_INVALID', { file: basename(path), reason: 'not a regular file' });
      return new MappedFile(status.size === 0 ? NULL : map(fd, status.size), status.size);
    } finally {
      closeSync(fd);
    }
  }

  /** Address of the first byte; 0 for an empty file. Valid until `dispose`. */
  get address(): Pointer {
    assert(!this.#disposed, 'a mapping is not used after dispose');
    return this.#address;
  }

  /** Zero-copy view. It does not keep the mapping alive: reading it after `dispose` ends the process. */
  bytes(offset: number, byteLength: number): Uint8Array {
    assert(Number.isSafeInteger(offset) && offset >= 0, 'a view begins inside its file');
    assert(offset + byteLength <= this.byteLength, 'a view ends inside its file');
    return viewBytes(this.address + BigInt(offset), byteLength);
  }

  dispose(): void {
    if (this.#disposed) return;
    this.#disposed = true;
    countHandle('mapping', -1);
    if (this.byteLength === 0) return;
    assert(libc().munmap(this.#address, this.byteLength) === 0, 'munmap takes what mmap gave');
  }
}

/** Zero-copy view of native memory, at most 1 GiB; valid only while the owner of that memory keeps it. */
export function viewBytes(address: Pointer, byteLength: number): Uint8Array {
  assert(Number.isSafeInteger(byteLength) && byteLength >= 0, 'a view has a length');
  assert(byteLength <= MAX_VIEW_BYTES, 'a view is at most 1 GiB');
  return byteLength === 0 ? new Uint8Array(0) : new Uint8Array(viewMemory(address, byteLength));
}

function openForReading(path: string): number {
  try {
    // O_NONBLOCK: opening a named pipe would otherwise wait for a writer, for ever.
    return openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  } catch (cause) {
    const missing = cause instanceof Error && 'code' in cause && cause.code === 'ENOENT';
    const reason = missing ? 'the file is missing' : 'the file cannot be opened';
    throw new LoraxError('FILE_INVALID', { file: basename(path), reason }, { cause });
  }
}

function map(fd: number, byteLength: number): Pointer {
  const address = libc().mmap(null, byteLength, PROT_READ, MAP_PRIVATE, fd, 0);
  if (address === MAP_FAILED) {
    throw new LoraxError('ENGINE_LIBRARY', { reason: `mmap of ${byteLength} bytes failed (errno ${koffi.errno()})` });
  }
  // Weights are read whole and soon. Only advice: where the kernel declines, pages come in one by one.
  libc().madvise(address, byteLength, MADV_WILLNEED);
  return address;
}

function libc(): MemoryCalls {
  memoryCalls ??= loadMemoryCalls();
  return memoryCalls;
}

/** From the C library that Node itself runs on, which has another file name on every system. */
function loadMemoryCalls(): MemoryCalls {
  if (process.platform === 'win32') {
    throw new LoraxError('ENGINE_LIBRARY', { reason: 'mapping weight files is not supported on Windows; use WSL' });
  }
  const self = koffi.load(null);
  return {
    mmap: self.func('void *mmap(void *hint, size_t length, int prot, int flags, int fd, int64_t offset)'),
    munmap: self.func('int munmap(void *address, size_t length)'),
    madvise: self.func('int madvise(void *address, size_t length, int advice)'),
  };
}
