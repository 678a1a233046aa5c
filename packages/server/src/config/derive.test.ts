import assert from 'node:assert/strict';
import { mkdtempSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { homedir, tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';

import { coresAllowed } from './cores.ts';
import { readServe } from './testing.ts';

const options = (args: string[], env = {}) => readServe(args, env).options;
const refuses = (args: string[], message: RegExp) =>
  assert.throws(() => readServe(args), { code: 'OPTION_INVALID', message });

test('a model is required where one is served, and one only', () => {
  refuses([], /^option --model-id: is required/);
  refuses(['--demo', '--model-id', 'm'], /^option --demo: .*--model-id \(m\)/);
  refuses(['--demo', '--revision', 'v1'], /^option --revision: /);
  assert.equal(readServe([], {}, false).options.modelId, undefined);
  assert.equal(options(['--demo']).demo, true);
});

test('id@revision is split, unless a folder has that name', (t) => {
  const split = ({ modelId, revision }: { modelId: string | undefined; revision: string | undefined }) => [
    modelId,
    revision,
  ];
  assert.deepEqual(split(options(['--model-id', 'org/name@refs/pr/1'])), ['org/name', 'refs/pr/1']);
  assert.deepEqual(split(options(['--model-id', 'org/name', '--revision', 'v1'])), ['org/name', 'v1']);
  assert.deepEqual(split(options(['--model-id', '/srv/models/a@b'])), ['/srv/models/a@b', undefined]);
  refuses(['--model-id', 'org/name@v1', '--revision', 'v2'], /^option --revision: .* v1$/);

  const [before, folder] = [process.cwd(), mkdtempSync(join(tmpdir(), 'options-'))];
  t.after(() => {
    process.chdir(before);
    rmSync(folder, { recursive: true });
  });
  mkdirSync(join(folder, 'name@v1'));
  process.chdir(folder);
  assert.deepEqual(split(options(['--model-id', 'name@v1'])), ['name@v1', undefined]);
});

test('adapters are looked up locally where there is a local place for them', () => {
  const sources = (args: string[]) => {
    const { adapterSource, defaultAdapterSource } = options(args);
    return [adapterSource, defaultAdapterSource];
  };
  assert.deepEqual(sources(['--model-id', 'm']), ['hub', 'hub']);
  assert.deepEqual(sources(['--demo']), ['local', 'local']);
  assert.deepEqual(sources(['--model-id', 'm', '--adapter-root', '/a']), ['local', 'local']);
  assert.deepEqual(sources(['--demo', '--adapter-source', 's3']), ['s3', 's3']);
  assert.deepEqual(sources(['--demo', '--default-adapter-source', 'pbase']), ['local', 'pbase']);
});

test('limits that contradict each other are refused by name', () => {
  refuses(['--demo', '--max-input-length', '10', '--max-total-tokens', '10'], /^option --max-input-length: 10 /);
  refuses(['--demo', '--max-total-tokens', '10', '--max-batch-total-tokens', '9'], /^option --max-total-tokens: 10 /);
  options(['--demo', '--max-input-length', '9', '--max-total-tokens', '10', '--max-batch-total-tokens', '10']);
});

test('credentials need origins by name', () => {
  refuses(['--demo', '--cors-allow-credentials'], /^option --cors-allow-credentials: /);
  refuses(['--demo', '--cors-allow-credentials', '--cors-allow-origin', 'http://a,*'], /--cors-allow-credentials/);
  options(['--demo', '--cors-allow-credentials', '--cors-allow-origin', 'http://a']);
});

test("the cache folder is where the Hub's other clients have it", () => {
  const folder = (env: Record<string, string>) => options(['--demo'], env).huggingfaceHubCache;
  const all = { HF_HUB_CACHE: '/1', HUGGINGFACE_HUB_CACHE: '/2', HF_HOME: '/3', XDG_CACHE_HOME: '/4' };
  assert.equal(folder(all), '/1');
  assert.equal(folder({ ...all, HF_HUB_CACHE: '' }), '/2');
  assert.equal(folder({ HF_HOME: '/3', XDG_CACHE_HOME: '/4' }), join('/3', 'hub'));
  assert.equal(folder({ XDG_CACHE_HOME: '/4' }), join('/4', 'huggingface', 'hub'));
  assert.equal(folder({}), join(homedir(), '.cache', 'huggingface', 'hub'));
  assert.equal(options(['--demo', '--huggingface-hub-cache', '/0'], all).huggingfaceHubCache, '/0');
});

test('a device is named as --device says, and compiled kernels lie in the cache', () => {
  assert.equal(options(['--demo']).device, 'auto');
  for (const name of ['cpu', 'cuda', 'cuda:0', 'cuda:12']) {
    assert.equal(options(['--demo', '--device', name]).device, name);
  }
  for (const name of ['gpu', 'cuda:', 'cuda:-1', 'cuda:01']) refuses(['--demo', '--device', name], /--device: must be/);
  const { kernelCacheFolder } = options(['--demo'], { XDG_CACHE_HOME: '/4' });
  assert.equal(kernelCacheFolder, join('/4', 'lorax', 'kernels'));
});

test('a home folder and variables in the paths of the Hub mean what Python takes them for', () => {
  const folder = (HF_HOME: string) => options(['--demo'], { HF_HOME, DISK: '/disk' }).huggingfaceHubCache;
  assert.equal(folder('~/hf'), join(homedir(), 'hf', 'hub'));
  assert.equal(folder('~'), join(homedir(), 'hub'));
  assert.equal(folder('$DISK/hf'), '/disk/hf/hub');
  assert.equal(folder('${DISK}/hf'), '/disk/hf/hub');
  assert.equal(folder('/x/~/$UNKNOWN'), '/x/~/$UNKNOWN/hub');
});

test('threads stay as asked, beside the cores allowed with their reason', () => {
  assert.equal(options(['--demo', '--threads', '3']).threads, 3);
  assert.equal(options(['--demo']).threads, undefined);
  assert.deepEqual(options(['--demo']).cores, coresAllowed());
});

test('what the environment says about the Hub is taken over, and a token only from there', () => {
  const hub = (env: Record<string, string>) => {
    const { hubEndpoint, hubOffline, hubToken } = options(['--demo'], { HF_TOKEN_PATH: '/no/such/file', ...env });
    return [hubEndpoint, hubOffline, hubToken];
  };
  assert.deepEqual(hub({}), [undefined, false, undefined]);
  assert.deepEqual(hub({ HF_ENDPOINT: '', HF_HUB_OFFLINE: '', HF_TOKEN: '' }), [undefined, false, undefined]);
  assert.deepEqual(hub({ HF_ENDPOINT: 'http://h', HF_HUB_OFFLINE: '1', HF_TOKEN: 't' }), ['http://h', true, 't']);
  assert.deepEqual(hub({ HF_API_TOKEN: 'a', HUGGING_FACE_HUB_TOKEN: 'b' }), [undefined, false, 'b']);
  assert.deepEqual(hub({ TRANSFORMERS_OFFLINE: '1' }), [undefined, true, undefined]);
  assert.throws(() => hub({ HF_HUB_OFFLINE: 'maybe' }), { message: /^option HF_HUB_OFFLINE \(environment\): / });
});

test("the token that the Hub's own command left in a file counts where no variable has one", (context) => {
  const home = mkdtempSync(join(tmpdir(), 'lorax-config-'));
  context.after(() => rmSync(home, { recursive: true }));
  const token = (env: Record<string, string>) => options(['--demo'], { HF_HOME: home, ...env }).hubToken;
  assert.equal(token({}), undefined);
  writeFileSync(join(home, 'token'), ' hf_file\r\n');
  writeFileSync(join(home, 'other'), 'hf_other');
  writeFileSync(join(home, 'empty'), '\n');
  assert.equal(token({}), 'hf_file');
  assert.equal(token({ HF_TOKEN: 'hf_env' }), 'hf_env');
  assert.equal(token({ HF_TOKEN_PATH: join(home, 'other') }), 'hf_other');
  assert.equal(token({ HF_TOKEN_PATH: join(home, 'empty') }), undefined);
  assert.equal(token({ HF_TOKEN_PATH: join(home, 'missing') }), undefined);
  assert.throws(() => token({ HF_TOKEN_PATH: home }), { message: /^option HF_TOKEN_PATH \(environment\): / });
});

test("the operator's token is for requests without one only where the operator says so", () => {
  const isShared = (word: string) => options(['--demo'], { LORAX_USE_GLOBAL_HF_TOKEN: word }).hubTokenShared;
  assert.deepEqual(['', '0', 'false', '1', 'true'].map(isShared), [false, false, false, true, true]);
  assert.throws(() => isShared('perhaps'), { message: /^option LORAX_USE_GLOBAL_HF_TOKEN \(environment\): / });
});
