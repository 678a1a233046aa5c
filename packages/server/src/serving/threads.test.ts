import assert from 'node:assert/strict';
import { test } from 'node:test';
import { chooseThreads } from './threads.ts';

const cores = { value: 8, because: 'every core' };
const MIB = 1 << 20;

test('threads stay as asked, whatever the model', () => {
  assert.deepEqual(chooseThreads(3, cores, MIB), { value: 3, because: 'asked for by --threads' });
});

test('a large model, or none in question, takes every core', () => {
  assert.equal(chooseThreads(undefined, cores, 2048 * MIB), cores);
  assert.equal(chooseThreads(undefined, cores, undefined), cores);
});

test('a small model takes a thread for each 64 MiB of weights', () => {
  const { value, because } = chooseThreads(undefined, cores, 15 * MIB);
  assert.equal(value, 1);
  assert.match(because, /small \(15 MiB\)/);
  assert.equal(chooseThreads(undefined, cores, 65 * MIB).value, 2);
});
