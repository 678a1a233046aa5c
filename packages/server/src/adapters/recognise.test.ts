import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { recogniseAdapter } from './recognise.ts';

let folder = '';

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'lorax-recognise-'));
});
afterEach(() => rmSync(folder, { recursive: true }));

function write(file: string, content: string): void {
  writeFileSync(join(folder, file), content);
}

describe('recognising an adapter', () => {
  it('finds LoRA by its configuration, whatever lies beside it', async () => {
    write('adapter_config.json', '{"peft_type":"LORA"}');
    write('config.json', '{"model_type":"llama"}');
    const kind = await recogniseAdapter(folder, 'id');
    assert.deepEqual(kind.getBatchTypes(), ['lora']);
  });

  it('finds Medusa heads by the config.json, alone and with LoRA', async () => {
    write('config.json', '{"medusa_num_heads":3}');
    assert.deepEqual((await recogniseAdapter(folder, 'id')).getBatchTypes(), ['medusa']);
    write('adapter_config.json', '{"peft_type":"LORA"}');
    assert.deepEqual((await recogniseAdapter(folder, 'id')).getBatchTypes(), ['lora', 'medusa']);
  });

  it('refuses a whole model and a folder of something else', async () => {
    await assert.rejects(recogniseAdapter(folder, 'id'), /neither adapter_config\.json nor/);
    await assert.rejects(recogniseAdapter(join(folder, 'absent'), 'id'), /neither adapter_config\.json nor/);
    for (const config of ['{"model_type":"llama"}', 'not json']) {
      write('config.json', config);
      await assert.rejects(recogniseAdapter(folder, 'id'), /a whole model is no adapter/);
    }
  });

  it('reads no configuration that is none: too large, a folder, a pipe without a writer', async () => {
    write('adapter_config.json', ' '.repeat((1 << 20) + 1));
    await assert.rejects(recogniseAdapter(folder, 'id'), /larger than 1048576 bytes/);
    rmSync(join(folder, 'adapter_config.json'));
    mkdirSync(join(folder, 'adapter_config.json'));
    await assert.rejects(recogniseAdapter(folder, 'id'), /adapter_config\.json is not a file/);
    execFileSync('mkfifo', [join(folder, 'config.json')]);
    rmSync(join(folder, 'adapter_config.json'), { recursive: true });
    await assert.rejects(recogniseAdapter(folder, 'id'), (error: Error) => {
      assert.match(error.message, /config\.json is not a file/);
      return !error.message.includes(folder);
    });
  });
});
