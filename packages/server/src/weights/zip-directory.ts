/**
 * Reads the directory of a zip archive whose entries are stored, not compressed, as torch writes them (zip64 included).
 * Format: PKWARE APPNOTE 6.3, sections 4.3 and 4.5. Unpacks nothing and never uses an entry's name as a path.
 */
import type { MappedFile } from '../native/mapped-file.ts';
import { fileFault, shown } from './file-fault.ts';

export interface ZipEntry {
  readonly name: string;
  /** Of the entry's data, from the beginning of the file. */
  readonly offset: number;
  readonly byteLength: number;
}

const LOCAL_ENTRY = 0x04034b50;
const DIRECTORY_ENTRY = 0x02014b50;
const END = 0x06054b50;
const END_64_LOCATOR = 0x07064b50;
const END_64 = 0x06064b50;

const LOCAL_BYTES = 30;
const DIRECTORY_ENTRY_BYTES = 46;
const END_BYTES = 22;
const END_64_LOCATOR_BYTES = 20;
const END_64_BYTES = 56;
const MAX_COMMENT_BYTES = 0xffff;

const ENCRYPTED = 1;
const ZIP_64_FIELD = 1;
const IN_ZIP_64 = 0xffffffff;

/** An adapter has an entry a tensor and a handful more; the limit bounds what a hostile file makes us allocate. */
const MAX_ENTRIES = 200_000;
const MAX_DIRECTORY_BYTES = 64 * 2 ** 20;

/** Where the directory lies. */
interface Directory {
  readonly offset: number;
  readonly byteLength: number;
  readonly entryCount: number;
}

/** A directory entry before its data has been located. */
interface ListedEntry {
  readonly name: string;
  readonly localOffset: number;
  readonly byteLength: number;
}

/** The entries by name. Every entry's data lies inside the file, before the directory and apart from all others. */
export function readZipDirectory(path: string, file: MappedFile): ReadonlyMap<string, ZipEntry> {
  const reader = new ZipReader(path, file);
  const directory = reader.directory();
  const listed = reader.list(directory).sort((a, b) => a.localOffset - b.localOffset);
  const entries = new Map<string, ZipEntry>();
  let previousEnd = 0;
  for (const candidate of listed) {
    const entry = reader.locate(candidate);
    const end = entry.offset + entry.byteLength;
    if (candidate.localOffset < previousEnd) throw fileFault(path, `zip entry ${shown(entry.name)} overlaps another`);
    if (end > directory.offset) throw fileFault(path, `zip entry ${shown(entry.name)} runs over its end`);
    if (entries.has(entry.name)) throw fileFault(path, `zip entry ${shown(entry.name)} is there twice`);
    entries.set(entry.name, entry);
    previousEnd = end;
  }
  return entries;
}

class ZipReader {
  readonly #path: string;
  readonly #file: MappedFile;

  constructor(path: string, file: MappedFile) {
    this.#path = path;
    this.#file = file;
  }

  directory(): Directory {
    const endOffset = this.#findEnd();
    const end = this.#view(endOffset, END_BYTES);
    const locatorOffset = endOffset - END_64_LOCATOR_BYTES;
    const is64 = locatorOffset >= 0 && this.#view(locatorOffset, 4).getUint32(0, true) === END_64_LOCATOR;
    const directory = is64
      ? this.#directory64(locatorOffset)
      : { entryCount: end.getUint16(10, true), byteLength: end.getUint32(12, true), offset: end.getUint32(16, true) };
    if (directory.offset + directory.byteLength > endOffset) throw this.#fault('the zip directory runs over its end');
    if (directory.byteLength > MAX_DIRECTORY_BYTES || directory.entryCount > MAX_ENTRIES) {
      throw this.#fault('the zip directory is too large');
    }
    return directory;
  }

  list({ offset, byteLength, entryCount }: Directory): ListedEntry[] {
    const view = this.#view(offset, byteLength);
    const entries: ListedEntry[] = [];
    let at = 0;
    while (entries.length < entryCount) {
      if (at + DIRECTORY_ENTRY_BYTES > byteLength || view.getUint32(at, true) !== DIRECTORY_ENTRY) {
        throw this.#fault('the zip directory is damaged');
      }
      const size =
        DIRECTORY_ENTRY_BYTES + [28, 30, 32].reduce((sum, field) => sum + view.getUint16(at + field, true), 0);
      if (at + size > byteLength) throw this.#fault('the zip directory is damaged');
      entries.push(this.#listedEntry(new DataView(view.buffer, at, size)));
      at += size;
    }
    return entries;
  }

  locate({ name, localOffset, byteLength }: ListedEntry): ZipEntry {
    const local = this.#view(localOffset, LOCAL_BYTES);
    const nameBytes = local.getUint16(26, true);
    if (local.getUint32(0, true) !== LOCAL_ENTRY)
      throw this.#fault(`zip entry ${shown(name)} is not where it should be`);
    if (this.#name(localOffset + LOCAL_BYTES, nameBytes) !== name || local.getUint16(8, true) !== 0) {
      throw this.#fault(`zip entry ${shown(name)} and the directory disagree`);
    }
    return { name, byteLength, offset: localOffset + LOCAL_BYTES + nameBytes + local.getUint16(28, true) };
  }

  /** The end record is followed by nothing but its comment, whose length it states. */
  #findEnd(): number {
    const last = this.#file.byteLength - END_BYTES;
    const first = Math.max(0, last - MAX_COMMENT_BYTES);
    if (last >= 0) {
      const tail = this.#view(first, this.#file.byteLength - first);
      for (let at = last - first; at >= 0; at--) {
        if (tail.getUint32(at, true) === END && at + END_BYTES + tail.getUint16(at + 20, true) === tail.byteLength) {
          return first + at;
        }
      }
    }
    throw this.#fault('not a zip archive, or cut short');
  }

  #directory64(locatorOffset: number): Directory {
    const end = this.#view(this.#number(this.#view(locatorOffset, END_64_LOCATOR_BYTES), 8), END_64_BYTES);
    if (end.getUint32(0, true) !== END_64) throw this.#fault('the zip directory is damaged');
    return {
      entryCount: this.#number(end, 32),
      byteLength: this.#number(end, 40),
      offset: this.#number(end, 48),
    };
  }

  #listedEntry(entry: DataView): ListedEntry {
    const nameBytes = entry.getUint16(28, true);
    const name = decodeName(new Uint8Array(entry.buffer, entry.byteOffset + DIRECTORY_ENTRY_BYTES, nameBytes));
    if (entry.getUint16(8, true) & ENCRYPTED) throw this.#fault(`zip entry ${shown(name)} is encrypted`);
    if (entry.getUint16(10, true) !== 0)
      throw this.#fault(`zip entry ${shown(name)} is compressed; torch stores entries`);
    const wide = this.#wideFields(entry, DIRECTORY_ENTRY_BYTES + nameBytes);
    // The order in which the zip64 field lists those that do not fit.
    const byteLength = wide(entry.getUint32(24, true));
    const packedBytes = wide(entry.getUint32(20, true));
    const localOffset = wide(entry.getUint32(42, true));
    if (packedBytes !== byteLength) throw this.#fault(`zip entry ${shown(name)} has two sizes`);
    return { name, byteLength, localOffset };
  }

  /** Takes a 32-bit field and gives its value, from the entry's zip64 extra field where the 32 bits say so. */
  #wideFields(entry: DataView, extraOffset: number): (narrow: number) => number {
    const end = Math.min(entry.byteLength, extraOffset + entry.getUint16(30, true));
    let at = extraOffset;
    while (at + 4 <= end && entry.getUint16(at, true) !== ZIP_64_FIELD) at += 4 + entry.getUint16(at + 2, true);
    const fieldEnd = at + 4 <= end ? Math.min(end, at + 4 + entry.getUint16(at + 2, true)) : 0;
    at += 4;
    return (narrow) => {
      if (narrow !== IN_ZIP_64) return narrow;
      if (at + 8 > fieldEnd) throw this.#fault('the zip directory lacks a 64-bit field');
      at += 8;
      return this.#number(entry, at - 8);
    };
  }

  #number(view: DataView, offset: number): number {
    const value = view.getBigUint64(offset, true);
    if (value > this.#file.byteLength) throw this.#fault('the zip directory points outside the file');
    return Number(value);
  }

  #name(offset: number, byteLength: number): string {
    const view = this.#view(offset, byteLength);
    return decodeName(new Uint8Array(view.buffer, view.byteOffset, view.byteLength));
  }

  #view(offset: number, byteLength: number): DataView {
    if (offset + byteLength > this.#file.byteLength) throw this.#fault('the zip directory points outside the file');
    const bytes = this.#file.bytes(offset, byteLength);
    return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  #fault(reason: string): Error {
    return fileFault(this.#path, reason);
  }
}

/** Names are only compared, so undecodable bytes may become replacement characters. */
function decodeName(bytes: Uint8Array): string {
  return new TextDecoder('utf-8', { ignoreBOM: true }).decode(bytes);
}
