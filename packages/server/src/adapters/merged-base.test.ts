import assert from 'node:assert/strict';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { liveHandles } from '../base/handles.ts';
import type { AdapterLocation } from '../sources/source.ts';
import { Setting } from '../testing/setting.ts';
import { writeTinyAdapter, type TinyAdapter, type TinyAdapterOptions } from '../testing/tiny-adapter.ts';
import type { Tokenizer } from '../text/tokenizer.ts';
import { AdapterLoader, type OpenTokenizer } from './adapter-loader.ts';
import { readBaseMerge, type BaseMerge } from './merged-base.ts';

const { signal } = new AbortController();
const reference = { id: 'red', source: 'local' } as const;

describe('reading an adapter for the base', () => {
  let setting: Setting;
  let adapter: TinyAdapter & { readonly folder: string };
  /** Folders and tokenizers in use. */
  let held: number;
  /** Runs while the adapter is read, after its content was hashed. */
  let whileReading: () => void;

  beforeEach(async () => {
    setting = await Setting.open();
    [held, whileReading] = [0, () => undefined];
  });
  afterEach(() => {
    setting.dispose();
    assert.equal(held, 0, 'every folder and tokenizer came back');
    assert.deepEqual(liveHandles(), {});
  });

  function write(options: TinyAdapterOptions): void {
    const { folder, config, tensors, merged } = setting.writeAdapter(options);
    adapter = { folder, tensors, merged, config: { ...config, base_model_name_or_path: 'some/base' } };
    writeTinyAdapter(folder, adapter);
  }

  const openTokenizer: OpenTokenizer = async () => {
    held++;
    const dispose = async (): Promise<void> => void held--;
    return { dispose } as Tokenizer;
  };

  async function read(): Promise<BaseMerge> {
    const { places, description } = setting.model;
    const base = { id: 'tiny', architecture: description.architecture, layerCount: 2, places };
    const resolveBase = async (): Promise<undefined> => {
      whileReading();
      return undefined;
    };
    const loader = new AdapterLoader(setting.backend, { ...base, resolveBase }, openTokenizer);
    const fetch: AdapterLocation['fetch'] = async () => {
      held++;
      return { folder: adapter.folder, root: undefined, byteLength: 0, release: () => void held-- };
    };
    const access = { check: async () => ({ ...reference, revision: undefined, fetch }) };
    return readBaseMerge({ reference, access, loader, baseIdentity: 'tiny float32' }, signal);
  }

  it('keeps its own tokenizer for as long as it is served', async () => {
    write({ rank: 4, targets: ['q_proj'] });
    const { adapters } = await read();
    assert.equal(held, 1);
    const lease = await adapters.acquire(reference);
    assert.ok(lease.tokenizer);
    lease.release();
    await adapters.dispose();
  });

  it('gives everything back where it does more than add to weights', async () => {
    write({ rank: 4, targets: ['q_proj'], loraBias: true });
    await assert.rejects(read(), { code: 'ADAPTER_INVALID', message: /q_proj\.lora_B\.bias is a bias/ });
  });

  it('gives everything back where its files changed meanwhile: it would not be what its generation says', async () => {
    write({ rank: 4, targets: ['q_proj'] });
    whileReading = () => writeTinyAdapter(adapter.folder, { ...adapter, config: { ...adapter.config, lora_alpha: 1 } });
    await assert.rejects(read(), { code: 'ADAPTER_INVALID', message: /its files changed while it was loaded/ });
    whileReading = () => undefined;
    await (await read()).adapters.dispose();
  });
});
