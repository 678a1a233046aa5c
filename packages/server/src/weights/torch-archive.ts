/**
 * Opens a PyTorch checkpoint (`torch.save`, version 1.6 and later) as mapped tensors: a zip archive of `data.pkl` and
 * one stored entry `data/<key>` a storage, all under one folder name. Runs nothing that the pickle asks for.
 */
import type { LoraxError } from '../base/errors.ts';
import { MappedFile } from '../native/mapped-file.ts';
import { fileFault, shown } from './file-fault.ts';
import { StoredTensors, type UnreadableTensor } from './stored-tensors.ts';
import type { TensorFile, TensorView } from './tensor-view.ts';
import { unpickleTensors, type PickledTensor } from './torch-pickle.ts';
import { readZipDirectory, type ZipEntry } from './zip-directory.ts';

/** A hundred bytes a tensor is usual. */
const MAX_PICKLE_BYTES = 64 * 2 ** 20;

const ZIP_MAGIC = 'PK\x03\x04';
const PICKLE_NAME = /^[^/\\]+\/data\.pkl$/;

/** Throws `FILE_INVALID`, naming what is wrong; for a forbidden global of the pickle, that global. */
export function openTorchArchive(path: string): TensorFile {
  const file = MappedFile.open(path);
  try {
    if (leadingText(file, 4) !== ZIP_MAGIC) {
      throw fileFault(path, 'not a zip archive; checkpoints from before PyTorch 1.6 must be loaded and saved again');
    }
    const archive = new TorchArchive(path, file);
    const tensors = archive.tensors();
    return new StoredTensors(path, tensors, archive.storageBytes, file);
  } catch (error) {
    file.dispose();
    throw error;
  }
}

class TorchArchive {
  readonly #path: string;
  readonly #file: MappedFile;
  readonly #entries: ReadonlyMap<string, ZipEntry>;
  /** Of all entries: the archive's own folder, with its slash. */
  readonly #prefix: string;
  readonly #usedStorages = new Map<string, ZipEntry>();

  constructor(path: string, file: MappedFile) {
    this.#path = path;
    this.#file = file;
    this.#entries = readZipDirectory(path, file);
    const pickles = [...this.#entries.keys()].filter((name) => PICKLE_NAME.test(name));
    const [pickle] = pickles;
    if (pickle === undefined || pickles.length > 1) throw this.#fault('not a PyTorch checkpoint: no single data.pkl');
    this.#prefix = pickle.slice(0, -'data.pkl'.length);
    const stray = [...this.#entries.keys()].find((name) => !this.#isOwnName(name));
    if (stray !== undefined) throw this.#fault(`zip entry ${shown(stray)} is outside the checkpoint's folder`);
  }

  get storageBytes(): number {
    return [...this.#usedStorages.values()].reduce((sum, { byteLength }) => sum + byteLength, 0);
  }

  tensors(): ReadonlyMap<string, TensorView | UnreadableTensor> {
    this.#checkByteOrder();
    const pickle = this.#read('data.pkl', MAX_PICKLE_BYTES);
    const pickled = unpickleTensors(pickle, (reason) => this.#fault(reason));
    return new Map([...pickled].map(([name, tensor]) => [name, this.#locate(name, tensor)]));
  }

  #locate(name: string, { storage, offset, shape, strides }: PickledTensor): TensorView | UnreadableTensor {
    const { storedDtype, elementBytes, dtype } = storage.kind;
    const entry = this.#entries.get(`${this.#prefix}data/${storage.key}`);
    if (entry === undefined) throw this.#fault(`the storage of tensor ${shown(name)} is missing`);
    if (entry.byteLength !== storage.elementCount * elementBytes) {
      throw this.#fault(
        `the storage of tensor ${shown(name)} has ${entry.byteLength} bytes, not those of its elements`,
      );
    }
    this.#usedStorages.set(storage.key, entry);
    if (dtype === undefined) return { name, storedDtype };
    const address = this.#file.address + BigInt(entry.offset + offset * elementBytes);
    return { name, dtype, shape, strides, address };
  }

  /** Written by PyTorch 2.1 and later; without it the order is the machine's, and those in use are little-endian. */
  #checkByteOrder(): void {
    if (!this.#entries.has(`${this.#prefix}byteorder`)) return;
    const order = Buffer.from(this.#read('byteorder', 16)).toString('latin1');
    if (order !== 'little') throw this.#fault('the checkpoint is not little-endian');
  }

  #read(name: string, maxBytes: number): Uint8Array {
    const entry = this.#entries.get(`${this.#prefix}${name}`);
    if (entry === undefined) throw this.#fault(`zip entry ${name} is missing`);
    if (entry.byteLength > maxBytes) throw this.#fault(`zip entry ${name} is larger than ${maxBytes} bytes`);
    return this.#file.bytes(entry.offset, entry.byteLength);
  }

  /** No entry is ever unpacked; a name that tries to leave its folder still shows a file that torch did not write. */
  #isOwnName(name: string): boolean {
    return name.startsWith(this.#prefix) && !name.split(/[/\\]/).includes('..');
  }

  #fault(reason: string): LoraxError {
    return fileFault(this.#path, reason);
  }
}

function leadingText(file: MappedFile, length: number): string {
  return Buffer.from(file.bytes(0, Math.min(length, file.byteLength))).toString('latin1');
}
