/** What the sources `s3` and `pbase` must do over any S3 server: the suite of all sources, and what S3 alone can bring about. */

import assert from 'node:assert/strict';
import { existsSync, readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, describe, it } from 'node:test';

import { LoraxError } from '../../base/errors.ts';
import { DiskCache } from '../disk-cache.ts';
import type { Source } from '../source.ts';
import { type Found, describeSource, resolveWith } from './conformance.ts';
import { PbaseSetting } from './pbase-setting.ts';
import { ON_WEIGHTS, type S3Backend, S3Setting, WEIGHTS, adapterWith } from './s3-setting.ts';

export const never: AbortSignal = new AbortController().signal;

/** Each suite asks for the server once; whoever started it stops it. */
export function describeS3(start: () => Promise<S3Backend>): void {
  describeSource('s3', async () => {
    const setting = await S3Setting.start(await start());
    return {
      source: setting.open(),
      secrets: secretsOf(setting),
      add: (id, files) => setting.publish(id, files),
      network: setting.network(async () => setting.open()),
      dispose: () => setting.stop(),
    };
  });

  describe('a bucket', () => {
    const setUp = (context: TestContext): Promise<S3Setting> => setUpS3(context, start);

    it('is named in every form, and one place has one name', async (context) => {
      const setting = await setUp(context);
      await setting.publish('lorax-forms/team/a', adapterWith());
      const open = setting.open();
      const inBucket = setting.open({ modelBucket: 'lorax-forms' });
      const inFolder = setting.open({ modelBucket: 'lorax-forms', modelFolder: 'team' });
      const idOf = async (source: Source, id: string): Promise<string> => (await resolve(source, id)).id;
      for (const id of ['lorax-forms/team/a', 's3://lorax-forms/team/a', 'lorax-forms/team/a/']) {
        assert.equal(await idOf(open, id), 'lorax-forms/team/a');
      }
      assert.equal(await idOf(inBucket, 'team/a'), 'team/a');
      assert.equal(await idOf(inFolder, 'a'), 'a');
      assert.equal(await idOf(inFolder, 's3://lorax-forms/team/a'), 'a');
      assert.equal((await thrownBy(resolve(inFolder, 'lorax-forms/team/a'))).code, 'ADAPTER_NOT_FOUND');
    });

    it('may have any characters in its keys', async (context) => {
      const setting = await setUp(context);
      const source = setting.open();
      const prefixes = ['a b', 'a+b', 'a%20b', 'ünï/çø∂é', "q?x=1&y#z'(!*)", 'a"<&>b', '~tilde:colon@at,;=$'];
      for (const prefix of prefixes) {
        await setting.publish(`lorax-keys/${prefix}`, adapterWith(prefix));
        const { id, folder } = await resolve(source, `lorax-keys/${prefix}`);
        assert.equal(id, `lorax-keys/${prefix}`);
        assert.equal(readFileSync(join(folder, WEIGHTS), 'utf8'), prefix);
      }
    });

    it('may hold an adapter at its root', async (context) => {
      const setting = await setUp(context);
      await setting.publish('lorax-root', adapterWith('at the root'));
      const { folder } = await resolve(setting.open(), 's3://lorax-root');
      assert.equal(readFileSync(join(folder, WEIGHTS), 'utf8'), 'at the root');
    });

    it('is listed to the end of the prefix', async (context) => {
      const setting = await setUp(context);
      const others = Array.from({ length: 1001 }, (_, index) => [`0-${index}.txt`, ''] as const);
      await setting.publish('lorax-pages/a', { ...Object.fromEntries(others), ...adapterWith() });
      const { folder } = await resolve(setting.open(), 'lorax-pages/a');
      assert.deepEqual(readdirSync(folder).toSorted(), ['adapter_config.json', WEIGHTS]);
      assert.ok(setting.proxy.seen.some((line) => line.includes('continuation-token=')));
    });

    it('takes its place in the disk cache, and gives it up for others', async (context) => {
      const setting = await setUp(context);
      const budgetBytes = 5000;
      const disk = await DiskCache.open({ cacheDir: setting.cacheDir, budgetBytes });
      const source = setting.open({ disk });
      const sizes = { a: 3000, b: 3000, c: 5000 };
      for (const [name, sizeBytes] of Object.entries(sizes)) {
        await setting.publish(`lorax-disk/${name}`, adapterWith(name.repeat(sizeBytes)));
      }
      const first = await resolve(source, 'lorax-disk/a');
      assert.equal(first.byteLength, disk.totalBytes);
      const second = await resolve(source, 'lorax-disk/b');
      await disk.settled();
      assert.ok(!existsSync(first.folder) && existsSync(second.folder));
      assert.deepEqual(
        disk.snapshots().map(({ id, byteLength }) => [id, byteLength]),
        [['lorax-disk/b', second.byteLength]],
      );
      assert.equal((await thrownBy(resolve(source, 'lorax-disk/c'))).code, 'ADAPTER_TOO_LARGE');
    });

    it('brings what lies right under the prefix, and of that what an adapter is made of', async (context) => {
      const setting = await setUp(context);
      const unwanted = { 'checkpoint-1/adapter_model.safetensors': 'x', 'optimizer.pt': 'x', 'README.md': 'x' };
      await setting.publish('lorax-files/a', { ...adapterWith(), 'tokenizer.json': '{}', ...unwanted });
      const { folder } = await resolve(setting.open(), 'lorax-files/a');
      assert.deepEqual(readdirSync(folder).toSorted(), ['adapter_config.json', WEIGHTS, 'tokenizer.json']);
      assert.equal((await thrownBy(resolve(setting.open(), 'lorax-files'))).code, 'ADAPTER_NOT_FOUND');
    });
  });

  describe('the revision of a prefix', () => {
    it('changes with the files of the adapter and with no others', async (context) => {
      const setting = await setUpS3(context, start);
      const source = setting.open();
      await setting.publish('lorax-revision/a', { ...adapterWith('first'), 'README.md': 'first' });
      const first = await resolve(source, 'lorax-revision/a');
      await setting.publish('lorax-revision/a', { ...adapterWith('first'), 'README.md': 'second' });
      assert.deepEqual(await resolve(source, 'lorax-revision/a'), first);
      await setting.publish('lorax-revision/a', adapterWith('other'));
      const second = await resolve(source, 'lorax-revision/a');
      assert.notEqual(second.revision, first.revision);
      assert.equal(readFileSync(join(second.folder, WEIGHTS), 'utf8'), 'other');
      assert.equal(readFileSync(join(first.folder, WEIGHTS), 'utf8'), 'first');
      const transfers = setting.proxy.seen.filter((line) => /^GET .*adapter_config/.test(line));
      assert.equal(transfers.length, 1, 'what did not change is not fetched again');
    });

    it('is what is fetched, or nothing is', async (context) => {
      const setting = await setUpS3(context, start);
      await setting.publish('lorax-swap/a', adapterWith('before'));
      const location = await setting.open().locate('lorax-swap/a', { signal: never });
      await setting.publish('lorax-swap/a', adapterWith('behind'));
      const error = await thrownBy(location.fetch({ signal: never }));
      assert.equal(error.code, 'ADAPTER_UNREACHABLE');
      assert.match(error.message, /replaced while the adapter was being fetched/);
      const { folder } = await resolve(setting.open(), 'lorax-swap/a');
      assert.equal(readFileSync(join(folder, WEIGHTS), 'utf8'), 'behind');
    });

    it('is not started for a whole model', async (context) => {
      const setting = await setUpS3(context, start);
      await setting.publish('lorax-whole/a', { 'config.json': '{"model_type":"llama"}', 'model.safetensors': 'x' });
      assert.equal((await thrownBy(resolve(setting.open(), 'lorax-whole/a'))).code, 'ADAPTER_INVALID');
      assert.ok(!setting.proxy.seen.some((line) => line.includes('model.safetensors')));
    });
  });

  describe('an S3 server that fails', () => {
    const troubled = async (context: TestContext): Promise<S3Setting> => {
      const setting = await setUpS3(context, start);
      await setting.publish('lorax-trouble/a', adapterWith('right'));
      return setting;
    };

    it('is asked again, and what arrives damaged is fetched again', async (context) => {
      const setting = await troubled(context);
      setting.proxy.fail(/^GET .*list-type=2/, { status: 503, headers: { 'retry-after': '0' } }, 2);
      setting.proxy.fail(/^HEAD .*adapter_config/, { status: 500 });
      setting.proxy.fail(ON_WEIGHTS, { content: 'wrong' });
      const { folder } = await resolve(setting.open(), 'lorax-trouble/a');
      assert.equal(readFileSync(join(folder, WEIGHTS), 'utf8'), 'right');
      assert.equal(setting.proxy.seen.filter((line) => ON_WEIGHTS.test(line)).length, 2);
    });

    it('is told by what its status means, with no word of where it is', async (context) => {
      const setting = await troubled(context);
      const headers = { location: 'http://169.254.169.254/latest/meta-data' };
      const cases = [
        [403, 'ADAPTER_FORBIDDEN', /is not accessible$/],
        [404, 'ADAPTER_NOT_FOUND', /was not found in source `s3`$/],
        [500, 'ADAPTER_UNREACHABLE', /the S3 server answered with status 500/],
        [400, 'ADAPTER_UNREACHABLE', /the S3 server answered with status 400/],
        [301, 'ADAPTER_UNREACHABLE', /in another region than AWS_REGION says/],
        [307, 'ADAPTER_UNREACHABLE', /in another region than AWS_REGION says/],
      ] as const;
      for (const [status, code, message] of cases) {
        setting.proxy.fail(/list-type=2/, { status, headers }, status === 500 ? 3 : 1);
        const error = await thrownBy(resolve(setting.open(), 'lorax-trouble/a'));
        assert.equal(error.code, code);
        assert.match(error.message, message);
        for (const secret of secretsOf(setting)) assert.ok(!error.message.includes(secret), error.message);
      }
    });

    it('stops a fetch that it answers with less than it should', async (context) => {
      const setting = await troubled(context);
      setting.proxy.fail(ON_WEIGHTS, { status: 200, headers: { 'content-length': '0' } }, 3);
      const error = await thrownBy(resolve(setting.open(), 'lorax-trouble/a'));
      assert.equal(error.code, 'ADAPTER_UNREACHABLE');
      assert.match(error.message, /cut at 0 of 5 bytes/);
    });
  });
}

export function describePbase(start: () => Promise<S3Backend>): void {
  describeSource('pbase', async () => {
    const setting = await PbaseSetting.start(await start());
    return {
      source: setting.open(),
      secrets: [...secretsOf(setting.s3), setting.proxy.endpoint, 'uuid'],
      add: (id, files) => setting.publish(id, files),
      access: { token: 'pb_right', addPrivate: (id, files) => setting.publish(id, files, 'pb_right') },
      network: setting.network(),
      dispose: () => setting.stop(),
    };
  });
}

export async function setUpS3(context: TestContext, start: () => Promise<S3Backend>): Promise<S3Setting> {
  const setting = await S3Setting.start(await start());
  context.after(() => setting.stop());
  return setting;
}

export function resolve(source: Source, id: string): Promise<Found> {
  return resolveWith(source, id, { signal: never });
}

export async function thrownBy(work: Promise<unknown>): Promise<LoraxError> {
  const error = await work.then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  assert.ok(error instanceof LoraxError, String(error));
  return error;
}

export function secretsOf({ cacheDir, proxy, backend }: S3Setting): readonly string[] {
  return [cacheDir, proxy.endpoint, '127.0.0.1', ...Object.values(backend.credentials)];
}
