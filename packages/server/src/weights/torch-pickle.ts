/**
 * What a torch checkpoint's pickle may name, and the descriptions of tensors that come out of it.
 * Nothing of the pickle runs: every allowed name stands for a function below. Knows nothing about the bytes of storages.
 */
import { shown, type Fault } from './file-fault.ts';
import type { Dtype } from './tensor-view.ts';
import { checkedElementCount, isLengthList } from './tensor-shape.ts';
import { PickleDict, unpickle, type PickleFunction, type PickleHost } from './unpickler.ts';

/** One kind of storage: its element type as torch calls it, and as we do where we can read it. */
export class StorageKind {
  readonly storedDtype: string;
  readonly elementBytes: number;
  readonly dtype: Dtype | undefined;

  constructor(storedDtype: string, elementBytes: number, dtype?: Dtype) {
    this.storedDtype = storedDtype;
    this.elementBytes = elementBytes;
    this.dtype = dtype;
  }
}

/** A storage: the archive's entry `data/<key>`, shared by any number of tensors. */
export class Storage {
  readonly kind: StorageKind;
  readonly key: string;
  readonly elementCount: number;

  constructor(kind: StorageKind, key: string, elementCount: number) {
    this.kind = kind;
    this.key = key;
    this.elementCount = elementCount;
  }
}

/** A view of a storage, checked to lie inside it. Offset and strides in elements. */
export class PickledTensor {
  readonly storage: Storage;
  readonly offset: number;
  readonly shape: readonly number[];
  readonly strides: readonly number[];

  constructor(storage: Storage, offset: number, shape: readonly number[], strides: readonly number[]) {
    this.storage = storage;
    this.offset = offset;
    this.shape = shape;
    this.strides = strides;
  }
}

const STORAGES: ReadonlyMap<string, StorageKind> = new Map([
  ['torch.FloatStorage', new StorageKind('float32', 4, 'float32')],
  ['torch.HalfStorage', new StorageKind('float16', 2, 'float16')],
  ['torch.BFloat16Storage', new StorageKind('bfloat16', 2, 'bfloat16')],
  // Known only so that the error names the tensor and its type.
  ['torch.DoubleStorage', new StorageKind('float64', 8)],
  ['torch.LongStorage', new StorageKind('int64', 8)],
  ['torch.IntStorage', new StorageKind('int32', 4)],
  ['torch.ShortStorage', new StorageKind('int16', 2)],
  ['torch.CharStorage', new StorageKind('int8', 1)],
  ['torch.ByteStorage', new StorageKind('uint8', 1)],
  ['torch.BoolStorage', new StorageKind('bool', 1)],
  ['torch.ComplexFloatStorage', new StorageKind('complex64', 8)],
  ['torch.ComplexDoubleStorage', new StorageKind('complex128', 16)],
  ['torch.storage.UntypedStorage', new StorageKind('untyped bytes', 1)],
]);

/** Weights have one or two, convolutions up to five. */
const MAX_DIMENSIONS = 8;

/** The tensors of a checkpoint's pickle by name; anything else in it is a fault. */
export function unpickleTensors(bytes: Uint8Array, fault: Fault): ReadonlyMap<string, PickledTensor> {
  const value = unpickle(
    bytes,
    torchHost((reason) => fault(`the pickle cannot be read: ${reason}`)),
  );
  if (!(value instanceof PickleDict)) throw fault('the pickle holds no dict of tensors');
  const tensors = new Map<string, PickledTensor>();
  for (const [name, tensor] of value.entries()) {
    if (typeof name !== 'string') throw fault('the pickle has a tensor whose name is not a string');
    if (!(tensor instanceof PickledTensor)) throw fault(`the pickle's entry ${shown(name)} is not a tensor`);
    tensors.set(name, tensor);
  }
  return tensors;
}

function torchHost(fault: Fault): PickleHost {
  const functions: ReadonlyMap<string, PickleFunction> = new Map<string, PickleFunction>([
    ['collections.OrderedDict', (args) => orderedDict(args, fault)],
    ['torch._utils._rebuild_tensor_v2', (args) => rebuildTensor(args, fault)],
    ['torch._utils._rebuild_parameter', (args) => rebuildParameter(args, fault)],
  ]);
  return {
    fault,
    global: (name) => {
      const meaning = functions.get(name) ?? STORAGES.get(name);
      if (meaning === undefined) throw fault(`it names ${shown(name)}, which is not allowed`);
      return meaning;
    },
    persistent: (id) => storage(id, fault),
  };
}

/** Only as torch writes it: empty, filled by later opcodes. */
function orderedDict(args: readonly unknown[], fault: Fault): PickleDict {
  if (args.length > 0) throw fault('an OrderedDict is made with arguments');
  return new PickleDict();
}

/** `(data, requires_grad, backward_hooks)`. */
function rebuildParameter([data]: readonly unknown[], fault: Fault): PickledTensor {
  if (!(data instanceof PickledTensor)) throw fault('a parameter is made without a tensor');
  return data;
}

/** `(storage, offset, shape, strides, requires_grad, backward_hooks)`. */
function rebuildTensor(args: readonly unknown[], fault: Fault): PickledTensor {
  const [source, offset, shape, strides] = args;
  const valid = source instanceof Storage && isLengthList([offset]) && isDimensions(shape) && isDimensions(strides);
  if (!valid || shape.length !== strides.length) throw fault('a tensor is described by the wrong values');
  const tensor = new PickledTensor(source, offset as number, [...shape], [...strides]);
  if (!fitsStorage(tensor)) throw fault('a tensor does not fit its storage');
  return tensor;
}

/** The limit comes first: one long list may be shared by very many tensors, each with its copy. */
function isDimensions(value: unknown): value is readonly number[] {
  return Array.isArray(value) && value.length <= MAX_DIMENSIONS && isLengthList(value);
}

/** No element outside the storage, and not more elements than it has: a stride of 0 could claim any number of them. */
function fitsStorage({ storage: { elementCount }, offset, shape, strides }: PickledTensor): boolean {
  const count = checkedElementCount(shape);
  if (count === undefined || count > elementCount) return false;
  if (count === 0) return offset <= elementCount;
  return offset + shape.reduce((last, length, i) => last + (length - 1) * strides[i]!, 0) < elementCount;
}

/** `('storage', kind, key, device, element count)`; the device is where it was saved from. */
function storage(id: unknown, fault: Fault): Storage {
  if (!Array.isArray(id) || id.length !== 5 || id[0] !== 'storage') throw fault('a persistent id is no storage');
  const [, kind, key, , elementCount] = id as readonly unknown[];
  if (!(kind instanceof StorageKind) || typeof key !== 'string' || !isLengthList([elementCount])) {
    throw fault('a storage is described by the wrong values');
  }
  return new Storage(kind, key, elementCount as number);
}
