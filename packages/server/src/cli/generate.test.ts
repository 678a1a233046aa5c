import assert from 'node:assert/strict';
import { test } from 'node:test';

import { Command } from 'commander';

import { declareGroups, declareTable, readServeOptions, readTable } from '../config/command-line.ts';
import { GENERATE_OPTIONS } from '../config/generate-options.ts';
import { isSampling } from '../engine/sampling/params.ts';
import { generationRequest } from './generate.ts';

function request(...args: string[]) {
  const command = new Command('generate').exitOverride();
  declareTable(command, GENERATE_OPTIONS);
  declareGroups(command, ['Model', 'Adapters']);
  command.parse(['--demo', ...args], { from: 'user' });
  const wanted = readTable(command, GENERATE_OPTIONS);
  return generationRequest('Hello', readServeOptions(command, { model: true }).options, wanted);
}

test('without flags the base model answers greedily', () => {
  const { prompt, adapter, sampling, maxNewTokens, stop } = request();
  assert.deepEqual([prompt, adapter, maxNewTokens, stop], [{ text: 'Hello' }, undefined, 128, []]);
  assert.equal(isSampling(sampling), false);
});

test('a seed alone does not sample, a temperature or a top-k does, and temperature 0 never', () => {
  assert.equal(isSampling(request('--seed', '7').sampling), false);
  assert.equal(isSampling(request('--temperature', '0.8').sampling), true);
  assert.equal(isSampling(request('--temperature', '1').sampling), true);
  assert.equal(isSampling(request('--top-k', '5').sampling), true);
  assert.equal(isSampling(request('--top-k', '5', '--temperature', '0').sampling), false);
});

test('the flags arrive in the request', () => {
  const args =
    '--seed 18446744073709551615 --stop a,b --stop c --repetition-penalty 1.2 --adapter-id x --ignore-eos-token';
  const { sampling, stop, adapter, ignoreEos } = request(...args.split(' '));
  assert.equal(sampling.seed, 2n ** 64n - 1n);
  assert.equal(sampling.repetitionPenalty, 1.2);
  assert.deepEqual(stop, ['a,b', 'c']);
  assert.deepEqual(adapter, { id: 'x', source: 'local' });
  assert.equal(ignoreEos, true);
});

test('guesses are left to the engine unless a flag says otherwise', () => {
  assert.deepEqual(request().speculation, { mode: 'auto', tokens: undefined });
  const { speculation } = request('--speculation', 'ngram', '--speculation-tokens', '3');
  assert.deepEqual(speculation, { mode: 'ngram', tokens: 3 });
});

test('two runs without a seed have different ones', () => {
  assert.notEqual(request().sampling.seed, request().sampling.seed);
});
