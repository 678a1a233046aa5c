import assert from 'node:assert/strict';
import { test } from 'node:test';

import { readServe } from './testing.ts';

const options = (env: Readonly<Record<string, string>>) => readServe(['--demo'], env).options;
const refuses = (env: Readonly<Record<string, string>>, message: RegExp) =>
  assert.throws(() => options(env), { code: 'OPTION_INVALID', message });

test('without a word in the environment S3 is Amazon’s, and ids name their bucket', () => {
  const { s3, pbase } = options({});
  assert.deepEqual(s3, { endpoint: undefined, region: undefined, modelBucket: undefined, modelFolder: '' });
  assert.deepEqual(pbase, { gateway: 'https://api.app.predibase.com' });
});

test('the endpoint is R2’s, else S3_ENDPOINT_URL’s, else the SDK’s own variables’', () => {
  const both = { AWS_ENDPOINT_URL: 'http://c', AWS_ENDPOINT_URL_S3: 'http://b' };
  assert.equal(options({ AWS_ENDPOINT_URL: 'http://c' }).s3.endpoint, 'http://c');
  assert.equal(options(both).s3.endpoint, 'http://b');
  assert.equal(options({ ...both, S3_ENDPOINT_URL: 'http://a' }).s3.endpoint, 'http://a');
  const { endpoint, region } = options({ ...both, S3_ENDPOINT_URL: 'http://a', R2_ACCOUNT_ID: 'abc123' }).s3;
  assert.deepEqual([endpoint, region], ['https://abc123.r2.cloudflarestorage.com', 'auto']);
});

test('an endpoint has a region even where none is given', () => {
  const env = { S3_ENDPOINT_URL: 'http://a' };
  assert.equal(options(env).s3.region, 'us-east-1');
  assert.equal(options({ ...env, AWS_DEFAULT_REGION: 'garage' }).s3.region, 'garage');
  assert.equal(options({ AWS_DEFAULT_REGION: 'garage', AWS_REGION: 'eu-central-1' }).s3.region, 'eu-central-1');
});

test('the folder of ids without a bucket loses its outer slashes', () => {
  const { s3 } = options({ PREDIBASE_MODEL_BUCKET: 'models', PREDIBASE_MODEL_FOLDER: '/team/lora/' });
  assert.deepEqual([s3.modelBucket, s3.modelFolder], ['models', 'team/lora']);
});

test('addresses that are none are refused by the name of their variable', () => {
  refuses({ S3_ENDPOINT_URL: 'minio:9000' }, /^option S3_ENDPOINT_URL \(environment\): must be an http/);
  refuses({ AWS_ENDPOINT_URL_S3: 'http://key:secret@host' }, /^option AWS_ENDPOINT_URL_S3 .* without a user/);
  refuses({ R2_ACCOUNT_ID: 'evil.example/' }, /^option R2_ACCOUNT_ID /);
  refuses({ PREDIBASE_GATEWAY_ENDPOINT: 'file:///etc' }, /^option PREDIBASE_GATEWAY_ENDPOINT /);
});
