/** What every adapter source must do, whatever stands behind it. Each source's own tests add what is special to it. */

import assert from 'node:assert/strict';
import { realpath, readFile } from 'node:fs/promises';
import { isAbsolute, join } from 'node:path';
import { after, before, describe, it } from 'node:test';

import { LoraxError } from '../../base/errors.ts';
import { liveHandles } from '../../base/handles.ts';
import type { AdapterLocation, LocateOptions, ResolvedFolder, Source } from '../source.ts';

export interface SourceFixture {
  readonly source: Source;
  /** Words that no message may contain: folders and hosts behind the source. */
  readonly secrets: readonly string[];
  /** Makes an adapter (or what pretends to be one) known to the source. */
  add(id: string, files: Readonly<Record<string, string>>): Promise<void>;
  dispose(): Promise<void>;
}

/** A small adapter; its weights are no real ones, since sources do not look into them. */
export const ADAPTER_FILES = {
  'adapter_config.json': '{"peft_type":"LORA","r":4}',
  'adapter_model.safetensors': 'weights of an adapter',
} as const;

export type Found = Omit<AdapterLocation, 'fetch'> & Omit<ResolvedFolder, 'release'>;

/** Both halves of finding an adapter: where it is, and its files here. */
export async function resolveWith(source: Source, id: string, options: LocateOptions): Promise<Found> {
  const { fetch, ...location } = await source.locate(id, options);
  const { release, ...folder } = await fetch({ signal: options.signal });
  release();
  return { ...location, ...folder };
}

export function describeSource(name: string, make: () => Promise<SourceFixture>): void {
  describe(`source ${name}`, () => {
    let fixture: SourceFixture;
    before(async () => void (fixture = await make()));
    after(() => fixture.dispose());

    const never = new AbortController().signal;
    const resolve = (id: string, options: Partial<LocateOptions> = {}): Promise<Found> =>
      resolveWith(fixture.source, id, { signal: never, ...options });
    const refuses = async (id: string, code: string, options: Partial<LocateOptions> = {}): Promise<void> => {
      const error = await resolve(id, options).then(
        () => undefined,
        (thrown: unknown) => thrown,
      );
      assert.ok(error instanceof LoraxError, `${JSON.stringify(id)}: ${String(error)}`);
      assert.equal(error.code, code);
      assert.ok(error.spec.status >= 400 && error.spec.status < 500);
      for (const secret of fixture.secrets) assert.ok(!error.message.includes(secret), error.message);
    };

    it('answers under its own name', () => assert.equal(fixture.source.name, name));

    it('resolves an id to a real folder with the files', async () => {
      await fixture.add('org/plain', ADAPTER_FILES);
      const { id, folder } = await resolve('org/plain');
      assert.equal(id, 'org/plain');
      assert.ok(isAbsolute(folder));
      assert.equal(folder, await realpath(folder));
      for (const [file, content] of Object.entries(ADAPTER_FILES)) {
        assert.equal(await readFile(join(folder, file), 'utf8'), content);
      }
    });

    it('gives the same answer again, and to many at once', async () => {
      await fixture.add('org/popular', ADAPTER_FILES);
      const answers = await Promise.all(Array.from({ length: 8 }, () => resolve('org/popular')));
      answers.push(await resolve('org/popular'));
      for (const answer of answers) assert.deepEqual(answer, answers[0]);
    });

    it('takes shards, and pickled weights where there are no others', async () => {
      const config = ADAPTER_FILES['adapter_config.json'];
      const shards = ['adapter_model-00001-of-00002.safetensors', 'adapter_model-00002-of-00002.safetensors'];
      await fixture.add('org/sharded', { 'adapter_config.json': config, [shards[0]!]: 'one', [shards[1]!]: 'two' });
      await fixture.add('org/pickled', { 'adapter_config.json': config, 'adapter_model.bin': 'pickle' });
      const sharded = await resolve('org/sharded');
      const contents = await Promise.all(shards.map((shard) => readFile(join(sharded.folder, shard), 'utf8')));
      assert.deepEqual(contents, ['one', 'two']);
      const pickled = await resolve('org/pickled');
      assert.equal(await readFile(join(pickled.folder, 'adapter_model.bin'), 'utf8'), 'pickle');
    });

    it('takes a Medusa adapter, which has no adapter_config.json', async () => {
      const files = { 'config.json': '{"medusa_num_heads":3}', 'medusa_lm_head.safetensors': 'heads' };
      await fixture.add('org/medusa', files);
      const { folder } = await resolve('org/medusa');
      assert.equal(await readFile(join(folder, 'medusa_lm_head.safetensors'), 'utf8'), 'heads');
    });

    it('refuses a whole model, a folder without weights, and a missing shard', async () => {
      const config = ADAPTER_FILES['adapter_config.json'];
      await fixture.add('org/whole', { 'config.json': '{"model_type":"llama"}', 'model.safetensors': 'weights' });
      await fixture.add('org/text', { 'README.md': 'nothing' });
      await fixture.add('org/empty', { 'adapter_config.json': config });
      await fixture.add('org/half', {
        'adapter_config.json': config,
        'adapter_model-00001-of-00002.safetensors': 'one',
      });
      for (const id of ['org/whole', 'org/text', 'org/empty', 'org/half']) await refuses(id, 'ADAPTER_INVALID');
    });

    it('does not know what was never there', async () => {
      await refuses('org/unknown', 'ADAPTER_NOT_FOUND');
      await refuses('unknown', 'ADAPTER_NOT_FOUND');
    });

    it('refuses ids that no source can mean', async () => {
      const ids = [
        '',
        'a\0b',
        'org/a\nb',
        'x'.repeat(4097),
        'org\\name',
        'C:/adapters',
        '\\\\host\\share',
        '\ud800',
        '\x7f',
      ];
      for (const id of ids) await refuses(id, 'VALIDATION');
    });

    it('answers hostile ids with a 4xx and without a word about what is where', async () => {
      for (const id of ['../x', 'a/../../x', '/etc', '/etc/passwd', '~', '..', '/', '//host/share', 'org/%2e%2e/x']) {
        const error = await resolve(id).then(
          () => undefined,
          (thrown: unknown) => thrown,
        );
        assert.ok(error instanceof LoraxError, id);
        assert.ok(error.spec.status >= 400 && error.spec.status < 500, id);
        for (const secret of fixture.secrets) assert.ok(!error.message.includes(secret), error.message);
      }
    });

    it('rejects with the reason of a signal that was aborted before', async () => {
      const reason = new Error('the client went away');
      await assert.rejects(resolve('org/plain', { signal: AbortSignal.abort(reason) }), reason);
    });

    it('lists only what it can resolve', async () => {
      for (const id of await fixture.source.list(never)) assert.equal((await resolve(id)).id, id);
    });

    it('holds nothing open', () => assert.deepEqual(liveHandles(), {}));
  });
}
