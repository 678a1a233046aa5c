import assert from 'node:assert/strict';
import { after, describe, it } from 'node:test';

import fc from 'fast-check';

import { openS3 } from './s3.ts';
import { parseS3Id, s3IdOf } from './s3-place.ts';
import { FakeS3 } from './testing/fake-s3.ts';
import { adapterWith } from './testing/s3-setting.ts';
import { describeS3, resolve, setUpS3, thrownBy } from './testing/s3-suite.ts';

const fake = FakeS3.start();
after(async () => (await fake).stop());

describeS3(() => fake);

describe('openS3', () => {
  it('does not look through a prefix without end', async (context) => {
    const setting = await setUpS3(context, () => fake);
    const others = Array.from({ length: 10_000 }, (_, index) => [`0-${index}.txt`, ''] as const);
    await setting.publish('lorax-huge/a', { ...Object.fromEntries(others), ...adapterWith() });
    const error = await thrownBy(resolve(setting.open(), 'lorax-huge/a'));
    assert.equal(error.code, 'ADAPTER_INVALID');
    assert.match(error.message, /among more than 10000 files/);
    assert.equal(setting.proxy.requests.length, 10);
  });

  it('tells the operator why the S3 server refused the key', async (context) => {
    const setting = await setUpS3(context, () => fake);
    const told: unknown[] = [];
    const nothing = (): void => undefined;
    const log = { debug: nothing, warn: nothing, info: (fields: object) => void told.push(fields) };
    setting.proxy.fail(/./, { status: 403 });
    const error = await thrownBy(resolve(setting.open({ log }), 'lorax-refused/a'));
    assert.equal(error.code, 'ADAPTER_FORBIDDEN');
    const reason = 'the S3 server answered with status 403';
    assert.deepEqual(told, [{ adapter: 'lorax-refused/a', source: 's3', reason }]);
  });

  it('refuses a bucket or a folder for ids without one that can be none', () => {
    const options = { endpoint: undefined, region: undefined, cacheDir: '/nowhere' };
    for (const [modelBucket, modelFolder] of [
      ['a/b', ''],
      ['ab', ''],
      ['models', '../x'],
      ['models', 'a//b'],
    ] as const) {
      assert.throws(() => openS3({ ...options, modelBucket, modelFolder }), { code: 'OPTION_INVALID' });
    }
  });
});

describe('an S3 id', () => {
  const NONE = { modelBucket: undefined, modelFolder: '' };

  it('names no place outside the endpoint’s buckets', async () => {
    const hostile = [
      's3://',
      's3:///a',
      's3://ab',
      's3://a b/c',
      's3://host:80/c',
      's3://user@host/c',
      's3://arn:aws:s3:us-east-1:1:accesspoint/x',
      's3://bucket--use1-az4--x-s3/a',
      's3://bucket--op-s3/a',
      's3://a..b/c',
      's3://bucket/a/../b',
      's3://bucket//a',
      's3://bucket/./a',
      'http://bucket/a',
      `bucket/${'ü'.repeat(449)}`,
    ];
    for (const id of hostile) assert.throws(() => parseS3Id(id, NONE), { code: 'VALIDATION' }, id);
  });

  it('has one spelling for each place, which leads back to it', () => {
    const part = fc.stringMatching(/^[a-z0-9.:% ]{1,4}$/).filter((text) => text !== '.' && text !== '..');
    const bucket = fc.constantFrom('models', 'other');
    const path = fc.array(fc.oneof(part, fc.constantFrom('team', 's3:', 'models')), { maxLength: 4 });
    const defaults = fc.record({
      modelBucket: fc.constantFrom(undefined, 'models'),
      modelFolder: fc.constantFrom('', 'team', 'team/models'),
    });
    const property = fc.property(bucket, path, defaults, (name, parts, settings) => {
      const place = { bucket: name, prefix: parts.join('/') };
      assert.deepEqual(parseS3Id(s3IdOf(place, settings), settings), place);
    });
    fc.assert(property, { numRuns: 500 });
  });
});
