import assert from 'node:assert/strict';
import { test } from 'node:test';
import { LoraxError } from '../base/errors.ts';
import { PICKLE, tupleOps } from './testdata/torch-bytes.ts';
import { PickleDict, unpickle, type PickleHost } from './unpickler.ts';

const calls: string[] = [];

const host: PickleHost = {
  fault: (reason) => new LoraxError('FILE_INVALID', { file: 'test.bin', reason }),
  global: (name) => {
    calls.push(name);
    if (name === 'test.join') return (args: readonly unknown[]) => args.join('+');
    if (name === 'test.Data') return { data: true };
    throw host.fault(`it names ${name}, which is not allowed`);
  },
  persistent: (id) => ({ id }),
};

const run = (...ops: Uint8Array[]): unknown => unpickle(Buffer.concat(ops), host);

function refuses(message: RegExp, ...ops: Uint8Array[]): void {
  assert.throws(() => run(...ops), { code: 'FILE_INVALID', message });
}

const entries = (value: unknown): unknown => {
  assert.ok(value instanceof PickleDict);
  return [...value.entries()];
};

test('values are built as Python would', () => {
  const { text, int, long, float, stop, none, newFalse } = PICKLE;
  const values = [none, newFalse, Buffer.from([0x88]), int(-7), Buffer.from([0x4b, 255]), Buffer.from([0x4d, 1, 2])];
  const more = [long(-(2n ** 40n)), long(0n, 0), long(-1n, 1), float(-0.25), text('näme')];
  assert.deepEqual(run(PICKLE.proto(), ...tupleOps([...values, ...more]), stop), [
    null,
    false,
    true,
    -7,
    255,
    513,
    -(2 ** 40),
    0,
    -1,
    -0.25,
    'näme',
  ]);
});

test('tuples, lists and dicts nest', () => {
  const { int, text, mark, stop, emptyDict, emptyList, emptyTuple } = PICKLE;
  const tuple1 = Buffer.from([0x85]);
  const tuple2 = Buffer.from([0x86]);
  const tuple3 = Buffer.from([0x87]);
  assert.deepEqual(run(int(1), tuple1, int(2), int(3), tuple2, emptyTuple, tuple3, stop), [[1], [2, 3], []]);
  assert.deepEqual(run(emptyList, int(1), PICKLE.append, mark, int(2), int(3), PICKLE.appends, stop), [1, 2, 3]);
  const dict = run(emptyDict, text('a'), int(1), PICKLE.setItem, mark, int(7), text('b'), PICKLE.setItems, stop);
  assert.deepEqual(entries(dict), [
    ['a', 1],
    [7, 'b'],
  ]);
});

test('the memo gives the same object back', () => {
  const value = run(
    PICKLE.emptyList,
    PICKLE.put(4_000_000_000),
    PICKLE.get(4_000_000_000),
    Buffer.from([0x86]),
    PICKLE.stop,
  );
  assert.ok(Array.isArray(value));
  assert.equal(value[0], value[1]);
  const short = run(PICKLE.int(5), Buffer.from('q\x03h\x03'), Buffer.from([0x86]), PICKLE.stop);
  assert.deepEqual(short, [5, 5]);
});

test('the host gives meaning to globals and persistent ids, and only its functions are called', () => {
  const { text, global, stop, reduce, persistentId } = PICKLE;
  assert.equal(run(global('test', 'join'), ...tupleOps([text('a'), text('b')]), reduce, stop), 'a+b');
  assert.deepEqual(run(text('7'), persistentId, stop), { id: '7' });
  refuses(/REDUCE calls a plain value/, global('test', 'Data'), ...tupleOps([]), reduce, stop);
  refuses(/REDUCE calls a plain value/, text('eval'), ...tupleOps([text('1')]), reduce, stop);
  refuses(/REDUCE calls a plain value/, global('test', 'join'), text('not a tuple'), reduce, stop);
});

test('attributes set on a dict are not read; on anything else they are refused', () => {
  const { emptyDict, build, stop, text, global } = PICKLE;
  const state = [emptyDict, text('_metadata'), emptyDict, PICKLE.setItem];
  assert.deepEqual(entries(run(emptyDict, ...state, build, stop)), []);
  refuses(/BUILD changes something other than a dict/, global('test', 'join'), ...state, build, stop);
  refuses(/BUILD changes something other than a dict/, emptyDict, text('state'), build, stop);
});

test('a forbidden global stops the machine before anything else is looked at', () => {
  calls.length = 0;
  refuses(
    /it names posix\.system, which is not allowed/,
    Buffer.from('cposix\nsystem\n(X\x02\x00\x00\x00idtRcnext\nglobal\n.', 'latin1'),
  );
  assert.deepEqual(calls, ['posix.system']);
});

test('every opcode that torch does not write is refused', () => {
  const allowed = new Set([
    0x80, 0x28, 0x4e, 0x88, 0x89, 0x4b, 0x4d, 0x4a, 0x8a, 0x47, 0x58, 0x7d, 0x5d, 0x29, 0x85, 0x86, 0x87, 0x74, 0x61,
    0x65, 0x73, 0x75, 0x71, 0x72, 0x68, 0x6a, 0x63, 0x51, 0x52, 0x62, 0x2e,
  ]);
  let refused = 0;
  for (let op = 0; op < 256; op++) {
    if (allowed.has(op)) continue;
    refuses(
      /opcode 0x[0-9a-f]{2} is not allowed/,
      PICKLE.proto(),
      PICKLE.text('posix'),
      PICKLE.text('system'),
      Buffer.from([op]),
    );
    refused++;
  }
  assert.equal(refused, 256 - allowed.size);
  // By name, those that run code: STACK_GLOBAL, INST, OBJ, NEWOBJ, NEWOBJ_EX, EXT1, EXT2, EXT4.
  for (const op of [0x93, 0x69, 0x6f, 0x81, 0x92, 0x82, 0x83, 0x84]) assert.equal(allowed.has(op), false);
});

test('other protocols are refused', () => {
  for (const version of [0, 1, 3, 4, 5, 255]) refuses(/protocol \d+ is not read/, PICKLE.proto(version));
});

test('a pickle that breaks off, leaves values behind or goes on is refused', () => {
  const whole = Buffer.concat([
    PICKLE.proto(),
    ...tupleOps([PICKLE.text('abc'), PICKLE.long(5n), PICKLE.global('test', 'join')]),
  ]);
  for (let length = 0; length <= whole.length; length++) refuses(/cut short|too many/, whole.subarray(0, length));
  refuses(/leaves values behind/, PICKLE.int(1), PICKLE.int(2), PICKLE.stop);
  refuses(/pops an empty stack|leaves values/, PICKLE.int(1), PICKLE.mark, PICKLE.stop);
  refuses(/goes on after its end/, PICKLE.int(1), PICKLE.stop, PICKLE.stop);
});

test('stack, mark and memo are checked at every use', () => {
  const { mark, int, stop, emptyDict, emptyList } = PICKLE;
  for (const op of [
    stop,
    PICKLE.reduce,
    PICKLE.build,
    PICKLE.append,
    PICKLE.setItem,
    PICKLE.persistentId,
    PICKLE.put(0),
  ]) {
    refuses(/pops an empty stack/, op);
  }
  for (const op of [PICKLE.tuple, PICKLE.appends, PICKLE.setItems]) refuses(/lacks a MARK/, int(1), op);
  refuses(/pops an empty stack/, int(1), mark, Buffer.from([0x85]));
  refuses(/never written/, PICKLE.get(0));
  refuses(/APPEND to something other/, int(1), int(2), PICKLE.append);
  refuses(/SETITEM without a dict/, emptyList, int(1), int(2), PICKLE.setItem);
  refuses(/SETITEM without a dict/, emptyDict, mark, int(1), PICKLE.setItems);
  refuses(/dict key is not a string/, emptyDict, emptyDict, int(2), PICKLE.setItem);
  refuses(/has a key twice/, emptyDict, mark, int(1), int(1), int(1), int(1), PICKLE.setItems);
});

test('numbers and text outside what JavaScript holds exactly are refused', () => {
  refuses(/more than 53 bits/, PICKLE.long(2n ** 53n), PICKLE.stop);
  refuses(/more than 53 bits/, PICKLE.long(-(2n ** 100n), 255), PICKLE.stop);
  refuses(/not UTF-8/, Buffer.from('X\x01\x00\x00\x00\xff.', 'latin1'));
  refuses(/cut short/, Buffer.from('X\xff\xff\xff\xffabc.', 'latin1'));
});

test('bombs end at a limit: deep nesting, self-reference, endless opcodes', () => {
  const depth = 500_000;
  let nested = run(PICKLE.emptyTuple, Buffer.alloc(depth, 0x85), PICKLE.stop);
  for (let i = 0; i < depth; i++) nested = Array.isArray(nested) ? nested[0] : undefined;
  assert.deepEqual(nested, []);
  const ring = run(PICKLE.emptyList, PICKLE.put(0), PICKLE.get(0), PICKLE.append, PICKLE.stop);
  assert.ok(Array.isArray(ring) && ring[0] === ring);
  refuses(/too many opcodes/, Buffer.alloc(3_000_000, '}'));
  refuses(/too many opcodes/, Buffer.alloc(3_000_000, '('));
});
