import assert from 'node:assert/strict';
import { hostname } from 'node:os';
import { test } from 'node:test';

import type { OptionSpec } from './option-spec.ts';
import { envOf, flagOf } from './option-spec.ts';
import { OPTIONS } from './options.ts';
import { readGiven, readServe } from './testing.ts';

type Key = keyof typeof OPTIONS;

/** Two different good values for each option, and a bad one where the form allows a bad one. */
const SAMPLES: Readonly<Record<Key, readonly [good: string, other: string, bad?: string]>> = {
  modelId: ['some/model', './folder'],
  revision: ['main', 'v2'],
  demo: ['true', 'no', 'perhaps'],
  dtype: ['float32', 'bfloat16', 'int4'],
  tokenizerConfigPath: ['/tmp/a.json', '/tmp/b.json'],
  huggingfaceHubCache: ['/tmp/cache', '/tmp/other'],
  adapterId: ['a', 'b/c'],
  adapterSource: ['local', 's3', 'ftp'],
  defaultAdapterSource: ['pbase', 'hub', 'LOCAL'],
  adapterRoot: ['/tmp/adapters', '/tmp/more'],
  mergeAdapterWeights: ['true', 'no', 'maybe'],
  preloadedAdapterIds: ['a', 'b/c,d'],
  preloadedAdapterSource: ['s3', 'hub', 'disk'],
  maxActiveAdapters: ['3', '4', '0'],
  adapterMemoryFraction: ['0.5', '1', '0'],
  adapterHostCacheBytes: ['0', '1024', '1 GB'],
  adapterDiskCacheBytes: ['0', '4096', '-1'],
  authCacheS: ['0', '2.5', '86401'],
  authOnError: ['allow-cached', 'deny', 'allow'],
  predibaseApiToken: ['pb_a', 'pb_b'],
  adapterApi: ['on', 'off', 'admins'],
  device: ['cpu', 'cuda:1', 'gpu'],
  numShard: ['2', '4', '0'],
  threads: ['3', '4', '0'],
  matmulPrecision: ['medium', 'high', 'low'],
  ggmlPath: ['/opt/ggml', '/opt/other'],
  speculativeTokens: ['0', '4'],
  speculationCandidates: ['1', '8'],
  speculationMaxBatchSize: ['0', '32'],
  strictMedusaHeads: ['true', 'no', 'maybe'],
  maxConcurrentRequests: ['8', '9', '1e3'],
  maxBestOf: ['1', '5', '-1'],
  maxStopSequences: ['0', '7', '2.5'],
  maxInputLength: ['100', '200', 'many'],
  maxTotalTokens: ['300', '400', '1'],
  maxBatchSize: ['1', '128', '0'],
  maxBatchPrefillTokens: ['64', '128', '0x10'],
  maxBatchTotalTokens: ['1000', '2000', ' 5'],
  hostname: ['0.0.0.0', '::1'],
  port: ['0', '65535', '65536'],
  apiKey: ['team=12345678', '12345678,other=abcdefgh', 'short'],
  adminKey: ['ops=12345678', '=abc=defgh', 'two words=12345678'],
  corsAllowOrigin: ['http://a', 'http://b,http://c'],
  corsAllowHeader: ['x-a', 'x-b'],
  corsAllowMethod: ['PUT', 'PATCH'],
  corsExposeHeader: ['x-a', 'x-b'],
  corsAllowCredentials: ['1', 'off', '2'],
  watermarkGamma: ['0.25', '.75', '1.5'],
  watermarkDelta: ['-2', '+3.5e0', 'NaN'],
  jsonOutput: ['yes', 'f', 'json'],
  logLevel: ['debug', 'silent', 'loud'],
};

const KEYS = Object.keys(OPTIONS) as Key[];
const parse = (key: Key, text: string): unknown => OPTIONS[key].schema.parse(text);
const rejects = (args: string[], env: Record<string, string>, name: string) =>
  assert.throws(() => readGiven(args, env), { code: 'OPTION_INVALID', message: new RegExp(`^option ${name}: must `) });

for (const key of KEYS) {
  const [good, other, bad] = SAMPLES[key];
  const [flag, env] = [flagOf(key), envOf(key)];
  const row: OptionSpec = OPTIONS[key];

  if (row.env === false) {
    test(`${flag} is read from the command line alone`, () => {
      assert.deepEqual(readGiven([flag, good], { [env]: other })[key], parse(key, good));
      assert.deepEqual(readGiven([], { [env]: other })[key], readGiven([])[key]);
    });
    continue;
  }

  test(`${flag} wins over ${env}, and that over the default`, () => {
    assert.notDeepEqual(parse(key, good), parse(key, other));
    assert.deepEqual(readGiven([flag, good], { [env]: other })[key], parse(key, good));
    assert.deepEqual(readGiven([flag, other], { [env]: good })[key], parse(key, other));
    assert.deepEqual(readGiven([], { [env]: other })[key], parse(key, other));
    assert.deepEqual(readGiven([], { [env]: '' })[key], readGiven([])[key], 'an empty variable is not given');
  });

  if (bad !== undefined) {
    test(`a bad value is an error that names ${flag} or ${env}`, () => {
      rejects([flag, bad], {}, flag);
      rejects([], { [env]: bad }, `${env} \\(environment\\)`);
    });
  }
}

test('every default is a value that its own option accepts', () => {
  for (const key of KEYS) {
    const row: OptionSpec = OPTIONS[key];
    if (row.default === undefined) continue;
    const text = [row.default].flat().join(',');
    if (text === '') continue; // an empty list is what is there when nothing is written
    assert.deepEqual(parse(key, text), row.default, key);
  }
});

test('an option says where its value comes from when it is not given in one way only', () => {
  for (const [key, row] of Object.entries(OPTIONS)) {
    assert.ok(!('default' in row && 'derived' in row), key);
  }
});

test('a switch may stand alone, also in front of another flag', () => {
  const { demo, jsonOutput, port } = readGiven(['--demo', '--json-output', '-p', '81']);
  assert.deepEqual([demo, jsonOutput, port], [true, true, 81]);
});

test('lists take commas, repeated flags, or both', () => {
  const args = ['--cors-allow-origin', 'http://a, http://b', '--cors-allow-origin', 'http://c'];
  assert.deepEqual(readGiven(args).corsAllowOrigin, ['http://a', 'http://b', 'http://c']);
});

test('a flag that takes one value cannot be given twice', () => {
  assert.throws(() => readGiven(['--port', '1', '--port', '2']), { message: 'option --port: is given twice' });
});

test("the machine's own name in HOSTNAME is nobody's wish to listen there", () => {
  assert.equal(readGiven([], { HOSTNAME: hostname() }).hostname, '127.0.0.1');
  assert.equal(readGiven(['--hostname', hostname()]).hostname, hostname());
});

test('the options are frozen', () => {
  assert.ok(Object.isFrozen(readServe(['--demo']).options));
});
