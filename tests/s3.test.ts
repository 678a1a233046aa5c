import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';

import { STRANGER, SwiftServer } from '#server/sources/testing/swift-server.ts';
import { describePbase, describeS3, resolve, secretsOf, setUpS3, thrownBy } from '#server/sources/testing/s3-suite.ts';
import { adapterWith } from '#server/sources/testing/s3-setting.ts';
import { QUIET_DEMO_ARGS } from './demo.ts';
import { json, post, type Reply } from './http.ts';
import { LoraxServer } from './lorax-process.ts';
import { inRepository } from './repository.ts';

const started = SwiftServer.start();
const swift = (): Promise<SwiftServer> => started;
after(async () => (await started).stop());

describeS3(swift);
describePbase(swift);

test('a wrong secret, an unknown key and one without rights are refused by the S3 server', async (context) => {
  const setting = await setUpS3(context, swift);
  await setting.publish('lorax-keys-of/a', adapterWith());
  const { credentials } = await swift();
  const keys = [
    { ...credentials, secretAccessKey: 'wrong-secret' },
    { ...credentials, accessKeyId: 'test:nobody' },
    STRANGER,
  ];
  for (const key of keys) {
    const error = await thrownBy(resolve(setting.open({ credentials: key }), 'lorax-keys-of/a'));
    assert.equal(error.code, 'ADAPTER_FORBIDDEN', key.accessKeyId);
    for (const secret of [...secretsOf(setting), ...Object.values(key)]) assert.ok(!error.message.includes(secret));
  }
  await resolve(setting.open(), 'lorax-keys-of/a');
});

test('a served model takes its adapters from S3 with the key in its environment', async (context) => {
  const server = await swift();
  const folder = inRepository('packages/demo-model/adapters/pirate');
  for (const name of readdirSync(folder))
    await server.put('lorax-served', `team/pirate/${name}`, readFileSync(join(folder, name)));
  const cache = mkdtempSync(join(tmpdir(), 'lorax-s3-'));
  context.after(() => rmSync(cache, { recursive: true }));
  const key = {
    AWS_ACCESS_KEY_ID: server.credentials.accessKeyId,
    AWS_SECRET_ACCESS_KEY: server.credentials.secretAccessKey,
  };
  const env = { S3_ENDPOINT_URL: server.endpoint, HF_HUB_CACHE: cache, AWS_EC2_METADATA_DISABLED: 'true' };
  const answers = async (surroundings: Record<string, string>): Promise<readonly Reply[]> => {
    const lorax = await LoraxServer.start(QUIET_DEMO_ARGS, { env: surroundings });
    try {
      const ask = (adapter_source: string, adapter_id: string): Promise<Reply> => {
        const parameters = { adapter_source, adapter_id, max_new_tokens: 8 };
        return post(`${lorax.url}/generate`, { inputs: 'The sea', parameters });
      };
      const places = ['lorax-served/team/pirate', 's3://lorax-served/team/pirate', 'lorax-served/team/nobody'];
      return [await ask('local', 'pirate'), ...(await Promise.all(places.map((place) => ask('s3', place))))];
    } finally {
      await lorax.stop();
    }
  };
  const [local, ...remote] = await answers({ ...env, ...key });
  assert.ok(local !== undefined);
  const expected = json(local)['generated_text'];
  assert.deepEqual(
    remote.slice(0, 2).map((reply) => json(reply)['generated_text']),
    [expected, expected],
  );
  assert.equal(remote[2]?.status, 404);
  const [, withoutKey] = await answers(env);
  assert.equal(withoutKey?.status, 503);
  assert.match(withoutKey.text, /no key for S3/);
});
