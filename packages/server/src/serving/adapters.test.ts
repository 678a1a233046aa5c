import assert from 'node:assert/strict';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'node:test';
import type { AdapterSource } from '../base/adapter-reference.ts';
import { liveHandles } from '../base/handles.ts';
import { readServe } from '../config/testing.ts';
import type { AdapterLocation, Source, Sources } from '../sources/source.ts';
import { Setting } from '../testing/setting.ts';
import { readMerge } from './adapters.ts';

const OPTIONS = { rank: 4, targets: ['q_proj'] };
const { signal } = new AbortController();

describe('an adapter that is merged into the base', () => {
  let setting: Setting;
  let folder: string;
  /** What the sources were asked with, and how many of the folders they gave came back. */
  let asked: (readonly [AdapterSource, string | undefined])[];
  let held: number;

  beforeEach(async () => {
    setting = await Setting.open();
    ({ folder } = setting.writeAdapter(OPTIONS));
    [asked, held] = [[], 0];
  });
  afterEach(() => {
    setting.dispose();
    assert.equal(held, 0, 'every folder came back');
    assert.deepEqual(liveHandles(), {});
  });

  function source(name: AdapterSource): Source {
    const locate: Source['locate'] = async (id, { apiToken }): Promise<AdapterLocation> => {
      asked.push([name, apiToken]);
      return {
        ...{ source: name, id: id.replace(/@.*/, ''), revision: 'v1' },
        fetch: async () => {
          held++;
          return { folder, root: undefined, byteLength: 7, release: () => void held-- };
        },
      };
    };
    return { name, locate, list: async () => [] };
  }

  function read(from: AdapterSource, adapterId = 'org/red') {
    const flags = ['--adapter-id', adapterId, '--adapter-source', from, '--merge-adapter-weights'];
    const { options } = readServe(['--model-id', 'tiny', ...flags], { HF_TOKEN: 'hf_operator' });
    const sources = { hub: source('hub'), local: source('local'), s3: source('s3'), pbase: source('pbase') };
    const folder = join(setting.root, 'model');
    const disk = { remove: async () => 0 };
    const parts = { options, modelId: 'tiny', folder, sources: sources satisfies Sources, disk };
    return readMerge(setting.backend, parts, signal);
  }

  it("is fetched with the operator's token from the Hub, which no other source gets", async () => {
    for (const from of ['hub', 's3', 'pbase', 'local'] as const) await (await read(from)).adapters.dispose();
    assert.deepEqual(asked, [
      ['hub', 'hf_operator'],
      ['s3', undefined],
      ['pbase', undefined],
      ['local', undefined],
    ]);
  });

  it('is leased without slots, as often as it is asked for, by the id that the operator gave', async () => {
    const { adapters, factors } = await read('hub', 'org/red@v1');
    assert.deepEqual([...factors.keys()], ['model.layers.0.self_attn.q_proj', 'model.layers.1.self_attn.q_proj']);
    const lease = await adapters.acquire({ id: 'org/red@v1', source: 'hub' });
    const other = await adapters.acquire({ id: 'org/red@v1', source: 'hub', apiToken: 'of a caller' });
    assert.deepEqual([lease.slots, lease.generation], [[], adapters.generation]);
    assert.equal(adapters.status.runningCount, 2);
    lease.release();
    lease.release();
    assert.equal(adapters.status.runningCount, 1);
    other.release();
    // Without the revision it is whatever the repository holds now.
    await assert.rejects(adapters.acquire({ id: 'org/red', source: 'hub' }), { code: 'VALIDATION' });
    const { id, revision, state, ranks, targets, bytes } = adapters.status;
    assert.deepEqual([id, revision, state], ['org/red@v1', 'v1', 'resident']);
    assert.deepEqual([ranks, targets, bytes], [[4], ['q_proj'], { disk: 7, host: 0, device: 0 }]);
    await adapters.dispose();
  });
});
