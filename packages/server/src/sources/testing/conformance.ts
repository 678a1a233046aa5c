/** What every adapter source must do, whatever stands behind it. Each source's own tests add what is special to it. */

import assert from 'node:assert/strict';
import { realpath, readFile } from 'node:fs/promises';
import { isAbsolute, join } from 'node:path';
import { after, before, describe, it } from 'node:test';

import { LoraxError } from '../../base/errors.ts';
import { liveHandles } from '../../base/handles.ts';
import type { AdapterLocation, FetchProgress, LocateOptions, ResolvedFolder, Source } from '../source.ts';

export interface SourceFixture {
  readonly source: Source;
  /** Words that no message may contain: folders and hosts behind the source. */
  readonly secrets: readonly string[];
  /** Makes an adapter (or what pretends to be one) known to the source, in place of what had this id before. */
  add(id: string, files: Readonly<Record<string, string>>): Promise<void>;
  /** Absent where the source asks nobody else. */
  readonly network?: FixtureNetwork;
  /** Absent where everybody may read what there is. */
  readonly access?: FixtureAccess;
  dispose(): Promise<void>;
}

export interface FixtureAccess {
  /** The only token that opens what `addPrivate` made; absent where no token of a caller does. */
  readonly token?: string;
  addPrivate(id: string, files: Readonly<Record<string, string>>): Promise<void>;
}

export interface FixtureNetwork {
  /** Nobody answers until the returned function was called. */
  goDown(): Promise<() => Promise<void>>;
  /** The next transfer of weights stops after so many bytes, until `cutStalled` breaks it or the client goes away. */
  stallWeights(afterBytes: number): void;
  cutStalled(): void;
  /** For each transfer of weights so far, the first byte that was asked for. */
  weightTransfers(): readonly number[];
  /** Another server with the same cache. */
  openAnother(): Promise<Source>;
}

/** A small adapter; its weights are no real ones, since sources do not look into them. */
export const ADAPTER_FILES = {
  'adapter_config.json': '{"peft_type":"LORA","r":4}',
  'adapter_model.safetensors': 'weights of an adapter',
} as const;

export type Found = Omit<AdapterLocation, 'fetch'> & Omit<ResolvedFolder, 'release'>;

const WEIGHTS = 'adapter_model.safetensors';
const STALL_BYTES = 100_000;

function adapterOf(weights: string): Readonly<Record<string, string>> {
  return { ...ADAPTER_FILES, [WEIGHTS]: weights };
}

/** Both halves of finding an adapter: where it is, and its files here. */
export async function resolveWith(source: Source, id: string, options: LocateOptions): Promise<Found> {
  const location = await source.locate(id, options);
  const resolved = await location.fetch({ signal: options.signal });
  resolved.release();
  const { folder, root, byteLength } = resolved;
  return { source: location.source, id: location.id, revision: location.revision, folder, root, byteLength };
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
      assert.ok((error.spec.status >= 400 && error.spec.status < 500) || code === 'ADAPTER_UNREACHABLE');
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

    it('holds what replaced an adapter of the same id', async () => {
      const weightsOf = async ({ folder }: Found): Promise<string> => readFile(join(folder, WEIGHTS), 'utf8');
      await fixture.add('org/replaced', adapterOf('before'));
      const before = await resolve('org/replaced');
      assert.equal(await weightsOf(before), 'before');
      await fixture.add('org/replaced', adapterOf('after, and longer'));
      const after = await resolve('org/replaced');
      assert.equal(await weightsOf(after), 'after, and longer');
      if (before.revision !== undefined) assert.notEqual(after.revision, before.revision);
    });

    it('says what a folder takes of its cache, and lets it be released twice', async () => {
      await fixture.add('org/released', ADAPTER_FILES);
      const location = await fixture.source.locate('org/released', { signal: never });
      for (const _ of [1, 2]) {
        const folder = await location.fetch({ signal: never });
        assert.ok([0, Object.values(ADAPTER_FILES).join('').length].includes(folder.byteLength));
        folder.release();
        folder.release();
      }
    });

    describeAccess(() => fixture, resolve, refuses);
    describeNetwork(() => fixture, resolve, refuses);

    it('lists only what it can resolve', async () => {
      for (const id of await fixture.source.list(never)) assert.equal((await resolve(id)).id, id);
    });

    it('holds nothing open', () => assert.deepEqual(liveHandles(), {}));
  });
}

type Resolve = (id: string, options?: Partial<LocateOptions>) => Promise<Found>;
type Refuses = (id: string, code: string, options?: Partial<LocateOptions>) => Promise<void>;

function describeAccess(fixture: () => SourceFixture, resolve: Resolve, refuses: Refuses): void {
  it('opens a private adapter to its own token only, also when its files are here', async () => {
    const { access } = fixture();
    if (access === undefined) return;
    const isClosed = async (): Promise<void> => {
      await refuses('org/private', 'ADAPTER_FORBIDDEN');
      await refuses('org/private', 'ADAPTER_FORBIDDEN', { apiToken: 'another-token' });
    };
    await access.addPrivate('org/private', ADAPTER_FILES);
    await isClosed();
    if (access.token === undefined) return;
    await resolve('org/private', { apiToken: access.token });
    await isClosed();
  });
}

/** A fetch of weights that stands still in the middle. */
interface StalledFetch {
  readonly work: Promise<ResolvedFolder>;
  readonly client: AbortController;
}

async function stallFetch(location: AdapterLocation, network: FixtureNetwork): Promise<StalledFetch> {
  const client = new AbortController();
  let onStalled = (): void => undefined;
  const stalled = new Promise<void>((next) => (onStalled = next));
  const onProgress = ({ file, receivedBytes }: FetchProgress): void => {
    if (file === WEIGHTS && receivedBytes >= STALL_BYTES) onStalled();
  };
  network.stallWeights(STALL_BYTES);
  const work = location.fetch({ signal: client.signal, onProgress });
  await Promise.race([stalled, work]);
  return { work, client };
}

function describeNetwork(fixture: () => SourceFixture, resolve: Resolve, refuses: Refuses): void {
  const never = new AbortController().signal;
  const addLarge = async (id: string, letter: string): Promise<string> => {
    const weights = letter.repeat(3 * STALL_BYTES);
    await fixture().add(id, adapterOf(weights));
    return weights;
  };
  const holds = async ({ folder }: { folder: string }, weights: string): Promise<void> =>
    assert.ok((await readFile(join(folder, WEIGHTS), 'utf8')) === weights, 'the weights are what was published');

  it('says that it can ask nobody, and finds the adapter when it can again', async () => {
    const { network } = fixture();
    if (network === undefined) return;
    await fixture().add('org/cut-off', ADAPTER_FILES);
    const location = await fixture().source.locate('org/cut-off', { signal: never });
    const comeUp = await network.goDown();
    await refuses('org/cut-off', 'ADAPTER_UNREACHABLE');
    await assert.rejects(location.fetch({ signal: never }), { code: 'ADAPTER_UNREACHABLE' });
    await comeUp();
    await resolve('org/cut-off');
  });

  it('makes one transfer for many who fetch at once', async () => {
    const { network } = fixture();
    if (network === undefined) return;
    const weights = await addLarge('org/wanted', 'b');
    const before = network.weightTransfers().length;
    const folders = await Promise.all(Array.from({ length: 8 }, () => resolve('org/wanted')));
    for (const folder of folders) await holds(folder, weights);
    assert.equal(network.weightTransfers().length, before + 1);
  });

  it('resumes a transfer that was cut', async () => {
    const { network, source } = fixture();
    if (network === undefined) return;
    const weights = await addLarge('org/cut', 'c');
    const { work } = await stallFetch(await source.locate('org/cut', { signal: never }), network);
    network.cutStalled();
    const folder = await work;
    await holds(folder, weights);
    folder.release();
    const [first, second] = network.weightTransfers().slice(-2);
    assert.equal(first, 0);
    assert.ok(second !== undefined && second >= STALL_BYTES, `resumed at ${second}`);
  });

  it('leaves nothing broken when a fetch is aborted, and goes on where it stopped', async () => {
    const { network, source } = fixture();
    if (network === undefined) return;
    const weights = await addLarge('org/aborted', 'd');
    const { work, client } = await stallFetch(await source.locate('org/aborted', { signal: never }), network);
    const reason = new Error('the client went away');
    client.abort(reason);
    await assert.rejects(work, reason);
    assert.deepEqual(liveHandles(), {});
    await holds(await resolve('org/aborted'), weights);
    assert.ok((network.weightTransfers().at(-1) ?? 0) >= STALL_BYTES);
  });

  it('goes on for the others when one of those who fetch goes away', async () => {
    const { network, source } = fixture();
    if (network === undefined) return;
    const weights = await addLarge('org/shared', 'e');
    const location = await source.locate('org/shared', { signal: never });
    const before = network.weightTransfers().length;
    const { work, client } = await stallFetch(location, network);
    const other = location.fetch({ signal: never });
    const reason = new Error('the client went away');
    client.abort(reason);
    await assert.rejects(work, reason);
    network.cutStalled();
    const folder = await other;
    await holds(folder, weights);
    folder.release();
    assert.equal(network.weightTransfers().length, before + 2);
  });

  it('finds in the cache what another server fetched', async () => {
    const { network } = fixture();
    if (network === undefined) return;
    const weights = await addLarge('org/cached', 'f');
    await resolve('org/cached');
    const before = network.weightTransfers().length;
    await holds(await resolveWith(await network.openAnother(), 'org/cached', { signal: never }), weights);
    assert.equal(network.weightTransfers().length, before);
  });
}
