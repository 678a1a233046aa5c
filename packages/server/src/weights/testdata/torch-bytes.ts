/** Builds zip archives and pickles byte by byte for tests: well-formed as torch writes them, or wrong in one chosen way. */

export interface ZipPart {
  readonly name: string;
  readonly data: Uint8Array;
  /** Wrong values for single fields of the directory entry. */
  readonly method?: number;
  readonly flags?: number;
  readonly packedBytes?: number;
  readonly byteLength?: number;
  readonly localOffset?: number;
  readonly localName?: string;
}

/** A stored zip archive; `zip64` keeps every directory number in its 64-bit form. */
export function zipBytes(parts: readonly ZipPart[], { zip64 = false, comment = '' } = {}): Buffer {
  const locals: Buffer[] = [];
  const directory: Buffer[] = [];
  let offset = 0;
  for (const part of parts) {
    const local = localEntry(part);
    directory.push(directoryEntry(part, offset, zip64));
    locals.push(local);
    offset += local.length;
  }
  const listing = Buffer.concat(directory);
  return Buffer.concat([...locals, listing, endRecord(parts.length, listing.length, offset, zip64, comment)]);
}

function localEntry({ name, localName = name, data, method = 0 }: ZipPart): Buffer {
  const nameBytes = Buffer.from(localName);
  const head = Buffer.alloc(30);
  head.writeUInt32LE(0x04034b50, 0);
  head.writeUInt16LE(method, 8);
  head.writeUInt16LE(nameBytes.length, 26);
  return Buffer.concat([head, nameBytes, data]);
}

function directoryEntry(part: ZipPart, offset: number, zip64: boolean): Buffer {
  const { name, data, method = 0, flags = 0, byteLength = data.length, localOffset = offset } = part;
  const { packedBytes = byteLength } = part;
  const nameBytes = Buffer.from(name);
  const extra = zip64 ? wideField([byteLength, packedBytes, localOffset]) : Buffer.alloc(0);
  const head = Buffer.alloc(46);
  head.writeUInt32LE(0x02014b50, 0);
  head.writeUInt16LE(flags, 8);
  head.writeUInt16LE(method, 10);
  head.writeUInt32LE(zip64 ? 0xffffffff : packedBytes, 20);
  head.writeUInt32LE(zip64 ? 0xffffffff : byteLength, 24);
  head.writeUInt16LE(nameBytes.length, 28);
  head.writeUInt16LE(extra.length, 30);
  head.writeUInt32LE(zip64 ? 0xffffffff : localOffset, 42);
  return Buffer.concat([head, nameBytes, extra]);
}

/** After a field of another kind, as the order is free. */
function wideField(values: readonly number[]): Buffer {
  const field = Buffer.alloc(8 + 4 + values.length * 8);
  field.writeUInt16LE(0x7075, 0);
  field.writeUInt16LE(4, 2);
  field.writeUInt16LE(1, 8);
  field.writeUInt16LE(values.length * 8, 10);
  for (const [i, value] of values.entries()) field.writeBigUInt64LE(BigInt(value), 12 + i * 8);
  return field;
}

function endRecord(count: number, byteLength: number, offset: number, zip64: boolean, comment: string): Buffer {
  const end = Buffer.alloc(22);
  end.writeUInt32LE(0x06054b50, 0);
  end.writeUInt16LE(zip64 ? 0xffff : count, 8);
  end.writeUInt16LE(zip64 ? 0xffff : count, 10);
  end.writeUInt32LE(zip64 ? 0xffffffff : byteLength, 12);
  end.writeUInt32LE(zip64 ? 0xffffffff : offset, 16);
  end.writeUInt16LE(comment.length, 20);
  const tail = Buffer.concat([end, Buffer.from(comment)]);
  if (!zip64) return tail;
  const wide = Buffer.alloc(56);
  wide.writeUInt32LE(0x06064b50, 0);
  for (const [i, value] of [count, count, byteLength, offset].entries()) wide.writeBigUInt64LE(BigInt(value), 24 + i * 8);
  const locator = Buffer.alloc(20);
  locator.writeUInt32LE(0x07064b50, 0);
  locator.writeBigUInt64LE(BigInt(offset + byteLength), 8);
  return Buffer.concat([wide, locator, tail]);
}

/** Opcodes of pickle protocol 2 by their names in CPython's `pickletools`. */
export const PICKLE = {
  proto: (version = 2) => Buffer.from([0x80, version]),
  stop: Buffer.from('.'),
  mark: Buffer.from('('),
  none: Buffer.from('N'),
  newFalse: Buffer.from([0x89]),
  emptyDict: Buffer.from('}'),
  emptyList: Buffer.from(']'),
  emptyTuple: Buffer.from(')'),
  tuple: Buffer.from('t'),
  setItem: Buffer.from('s'),
  setItems: Buffer.from('u'),
  append: Buffer.from('a'),
  appends: Buffer.from('e'),
  reduce: Buffer.from('R'),
  build: Buffer.from('b'),
  persistentId: Buffer.from('Q'),
  global: (module: string, name: string) => Buffer.from(`c${module}\n${name}\n`),
  text: (value: string) => {
    const bytes = Buffer.from(value);
    return Buffer.concat([Buffer.from('X'), uint32(bytes.length), bytes]);
  },
  int: (value: number) => {
    const bytes = Buffer.alloc(5, 'J');
    bytes.writeInt32LE(value, 1);
    return bytes;
  },
  long: (value: bigint, byteLength = 8) => {
    const bytes = Buffer.alloc(byteLength);
    for (let i = 0; i < byteLength; i++) bytes[i] = Number((value >> BigInt(8 * i)) & 0xffn);
    return Buffer.concat([Buffer.from([0x8a, byteLength]), bytes]);
  },
  float: (value: number) => {
    const bytes = Buffer.alloc(9, 'G');
    bytes.writeDoubleBE(value, 1);
    return bytes;
  },
  put: (index: number) => Buffer.concat([Buffer.from('r'), uint32(index)]),
  get: (index: number) => Buffer.concat([Buffer.from('j'), uint32(index)]),
};

function uint32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return bytes;
}

export interface PickledView {
  readonly name: string;
  /** `FloatStorage` and so on. */
  readonly storage: string;
  readonly key: string;
  readonly elementCount: number;
  readonly offset: number;
  readonly shape: readonly number[];
  readonly strides: readonly number[];
  /** Wrapped as `torch.nn.Parameter`. */
  readonly parameter?: boolean;
}

/** The pickle of a dict of tensors. */
export function tensorsPickle(views: readonly PickledView[]): Buffer {
  const items = views.flatMap((view) => [PICKLE.text(view.name), ...tensorOps(view)]);
  return Buffer.concat([PICKLE.proto(), PICKLE.emptyDict, PICKLE.mark, ...items, PICKLE.setItems, PICKLE.stop]);
}

function tensorOps(view: PickledView): Buffer[] {
  const hooks = [PICKLE.global('collections', 'OrderedDict'), PICKLE.emptyTuple, PICKLE.reduce];
  const tensor = [
    PICKLE.global('torch._utils', '_rebuild_tensor_v2'),
    PICKLE.mark,
    ...storageOps(view),
    PICKLE.int(view.offset),
    ...tupleOps(view.shape.map(PICKLE.int)),
    ...tupleOps(view.strides.map(PICKLE.int)),
    PICKLE.newFalse,
    ...hooks,
    PICKLE.tuple,
    PICKLE.reduce,
  ];
  if (view.parameter !== true) return tensor;
  const rebuild = PICKLE.global('torch._utils', '_rebuild_parameter');
  return [rebuild, ...tupleOps([...tensor, PICKLE.newFalse, ...hooks]), PICKLE.reduce];
}

function storageOps({ storage, key, elementCount }: PickledView): Buffer[] {
  const [module, name] = storage === 'UntypedStorage' ? ['torch.storage', storage] : ['torch', storage];
  const id = [
    PICKLE.text('storage'),
    PICKLE.global(module, name),
    PICKLE.text(key),
    PICKLE.text('cuda:0'),
    PICKLE.int(elementCount),
  ];
  return [...tupleOps(id), PICKLE.persistentId];
}

export function tupleOps(parts: readonly Buffer[]): Buffer[] {
  return [PICKLE.mark, ...parts, PICKLE.tuple];
}

/** A checkpoint as `torch.save` lays it out. */
export function checkpointBytes(pickle: Uint8Array, storages: Readonly<Record<string, Uint8Array>>): Buffer {
  return zipBytes(checkpointParts(pickle, storages));
}

export function checkpointParts(pickle: Uint8Array, storages: Readonly<Record<string, Uint8Array>>): ZipPart[] {
  return [
    { name: 'archive/data.pkl', data: pickle },
    { name: 'archive/byteorder', data: Buffer.from('little') },
    ...Object.entries(storages).map(([key, data]) => ({ name: `archive/data/${key}`, data })),
    { name: 'archive/version', data: Buffer.from('3\n') },
  ];
}
