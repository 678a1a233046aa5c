import assert from 'node:assert/strict';
import { cpSync, mkdirSync, mkdtempSync, renameSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { PROMPTS, QUIET_DEMO_ARGS } from './demo.ts';
import { events, get, getJson, json, post, type JsonObject, type Reply } from './http.ts';
import { LORAX, LoraxServer, run } from './lorax-process.ts';
import { inRepository } from './repository.ts';

const DEMO_ADAPTERS = inRepository('packages/demo-model/adapters');
const [PROMPT = ''] = PROMPTS;

/** What these tests look at in an adapter's description. */
interface Described {
  readonly id: string;
  readonly names: readonly string[];
  readonly generation: string | null;
  readonly state: string;
  readonly pinned: boolean;
  readonly bytes: { readonly disk: number; readonly host: number; readonly device: number };
  readonly ranks: readonly number[];
  readonly targets: readonly string[];
  readonly last_used: number | null;
  readonly running_requests: number;
  readonly report?: JsonObject | null;
}

async function list(url: string): Promise<readonly Described[]> {
  return (await getJson(`${url}/v1/adapters`))['data'] as Described[];
}

async function describeAdapter(url: string, id: string): Promise<Described> {
  return (await getJson(`${url}/v1/adapters/${encodeURIComponent(id)}`)) as unknown as Described;
}

async function unload(url: string, id: string): Promise<JsonObject> {
  const response = await fetch(`${url}/v1/adapters/${encodeURIComponent(id)}`, { method: 'DELETE' });
  return json({ status: response.status, contentType: '', text: await response.text() });
}

async function gauge(url: string, name: string): Promise<number> {
  const { text } = await get(`${url}/metrics`);
  return Number(new RegExp(`^lorax_${name} (\\S+)$`, 'm').exec(text)?.[1]);
}

async function adapterBytes(url: string): Promise<readonly number[]> {
  const names = ['adapter_bytes', 'adapter_host_bytes', 'adapter_disk_bytes', 'adapters_resident'];
  return Promise.all(names.map((name) => gauge(url, name)));
}

function generate(url: string, parameters: JsonObject): Promise<Reply> {
  return post(`${url}/generate`, { inputs: PROMPT, parameters: { max_new_tokens: 12, ...parameters } });
}

async function textOf(url: string, parameters: JsonObject): Promise<string> {
  return json(await generate(url, parameters))['generated_text'] as string;
}

describe('with --adapter-api', () => {
  let server: LoraxServer;
  let url: string;
  before(async () => {
    server = await LoraxServer.start([...QUIET_DEMO_ARGS, '--adapter-api']);
    ({ url } = server);
  });
  after(() => server.stop());

  test('adapters that are found at the start are known, and stay so when they are unloaded', async () => {
    const all = await list(url);
    assert.deepEqual(
      all.map(({ id, state }) => `${id} ${state}`).toSorted(),
      [
        ...['austen', 'carroll', 'doyle', 'medusa-chat', 'medusa-v1', 'melville', 'pirate', 'pirate-medusa'],
        ...['shakespeare', 'stoker'],
      ]
        .map((id) => `${id} known`)
        .concat('medusa resident')
        .toSorted(),
    );
    assert.deepEqual(await unload(url, 'doyle'), {
      id: 'doyle',
      source: 'local',
      freed: { disk: 0, host: 0, device: 0 },
    });
    assert.equal((await describeAdapter(url, 'doyle')).state, 'known');
  });

  test('an adapter is loaded, pinned, named, used, described and freed, and its bytes go back to where they were', async () => {
    const former = await adapterBytes(url);
    const loaded = json(await post(`${url}/v1/adapters`, { id: 'pirate', pin: true, name: 'captain' }));
    assert.deepEqual(
      [loaded['id'], loaded['state'], loaded['pinned'], loaded['names']],
      ['pirate', 'resident', true, ['captain']],
    );
    assert.equal(await textOf(url, { adapter_id: 'captain' }), await textOf(url, { adapter_id: 'pirate' }));
    const described = await describeAdapter(url, 'captain');
    assert.deepEqual(described.ranks, [8]);
    assert.deepEqual(described.targets.toSorted(), [
      'down_proj',
      'gate_proj',
      'k_proj',
      'o_proj',
      'q_proj',
      'up_proj',
      'v_proj',
    ]);
    assert.ok(described.report != null);
    assert.equal((described.report['tensors'] as JsonObject)['used_count'], 112);
    assert.ok(described.last_used !== null && described.running_requests === 0);
    const [deviceBytes, hostBytes] = await adapterBytes(url);
    assert.equal(deviceBytes, former[0]! + described.bytes.device);
    assert.equal(hostBytes, former[1]! + described.bytes.host);
    const { freed } = await unload(url, 'pirate');
    assert.deepEqual(freed, { disk: 0, host: described.bytes.host, device: described.bytes.device });
    assert.deepEqual(await adapterBytes(url), former);
    assert.equal((await generate(url, { adapter_id: 'captain' })).status, 404);
    assert.equal((await describeAdapter(url, 'pirate')).state, 'known');
  });

  test('a stream that runs ends before its adapter is freed', async () => {
    const held = await adapterBytes(url);
    const body = { inputs: PROMPT, parameters: { adapter_id: 'stoker', max_new_tokens: 60, ignore_eos_token: true } };
    const running = post(`${url}/generate_stream`, body);
    while ((await describeAdapter(url, 'stoker')).running_requests === 0) await pause();
    const freeing = unload(url, 'stoker');
    assert.equal(events(await running).length, 60);
    assert.ok(((await freeing)['freed'] as { device: number }).device > 0);
    assert.deepEqual(await adapterBytes(url), held);
  });

  test("vLLM's routes give names and take them away", async () => {
    const held = await adapterBytes(url);
    const path = join(DEMO_ADAPTERS, 'austen');
    const load = (body: JsonObject): Promise<Reply> => post(`${url}/v1/load_lora_adapter`, body);
    const loaded = await load({ lora_name: 'jane', lora_path: path });
    assert.deepEqual([loaded.status, loaded.text], [200, "Success: LoRA adapter 'jane' added successfully."]);
    const again = await load({ lora_name: 'jane', lora_path: join(DEMO_ADAPTERS, 'carroll') });
    assert.equal(again.status, 400);
    assert.match(again.text, /already been loaded/);
    const expected = await textOf(url, { adapter_id: 'austen' });
    const completion = json(await post(`${url}/v1/completions`, { model: 'jane', prompt: PROMPT, max_tokens: 12 }));
    assert.equal((completion['choices'] as { text: string }[])[0]?.text, expected);
    const moved = await load({ lora_name: 'jane', lora_path: join(DEMO_ADAPTERS, 'carroll'), load_inplace: true });
    assert.equal(moved.status, 200);
    assert.equal(await textOf(url, { adapter_id: 'jane' }), await textOf(url, { adapter_id: 'carroll' }));
    const takeAway = (): Promise<Reply> => post(`${url}/v1/unload_lora_adapter`, { lora_name: 'jane' });
    assert.equal((await takeAway()).status, 200);
    assert.equal((await takeAway()).status, 404);
    assert.equal((await load({ lora_name: 'out', lora_path: inRepository('packages') })).status, 403);
    await unload(url, 'austen');
    assert.deepEqual(await adapterBytes(url), held);
  });

  test('a merge is answered the same each time, and a sum with one member alone as that member', async () => {
    const merged = (fields: JsonObject, ids = ['austen', 'stoker']): JsonObject => ({
      merged_adapters: { ids, ...fields },
    });
    const alone = await textOf(url, { adapter_id: 'pirate' });
    const ofOtherRank = ['pirate', 'melville'];
    assert.equal(await textOf(url, merged({ merge_strategy: 'cat', weights: [1, 0] }, ofOtherRank)), alone);
    assert.notEqual(await textOf(url, merged({ merge_strategy: 'cat' }, ofOtherRank)), alone);
    for (const fields of [
      { merge_strategy: 'cat', weights: [0.6, 0.4] },
      { merge_strategy: 'linear' },
      { merge_strategy: 'dare_ties', density: 0.5 },
    ]) {
      const first = json(await generate(url, merged(fields)));
      assert.deepEqual(json(await generate(url, merged(fields))), first, JSON.stringify(fields));
    }
    const refused = await generate(url, merged({ merge_strategy: 'ties' }));
    assert.equal(refused.status, 422);
    assert.match(refused.text, /density/);
    const unlike = await generate(url, merged({ merge_strategy: 'linear' }, ofOtherRank));
    assert.equal(unlike.status, 422);
    assert.match(unlike.text, /equal ranks/);
  });
});

describe('replacing the files of an adapter', () => {
  const folder = mkdtempSync(join(tmpdir(), 'lorax-replace-'));
  const root = join(folder, 'root');
  let server: LoraxServer;
  before(async () => {
    mkdirSync(root);
    place('pirate');
    server = await LoraxServer.start([...QUIET_DEMO_ARGS, '--adapter-root', root, '--adapter-api']);
  });
  after(async () => {
    await server.stop();
    rmSync(folder, { recursive: true });
  });

  /** In one step, as an operator should. */
  function place(name: string): void {
    cpSync(join(DEMO_ADAPTERS, name), join(folder, 'next'), { recursive: true });
    rmSync(join(folder, 'old'), { recursive: true, force: true });
    try {
      renameSync(join(root, 'changing'), join(folder, 'old'));
    } catch {
      // There is none yet.
    }
    renameSync(join(folder, 'next'), join(root, 'changing'));
  }

  const LONG = { adapter_id: 'changing', max_new_tokens: 80, ignore_eos_token: true, details: true };

  test('running streams end on the old content, later requests get the new one, and both are told which', async () => {
    const { url } = server;
    const former = await ask(url, LONG);
    const streams = [1, 2, 3].map(() => stream(url, LONG));
    while ((await describeAdapter(url, 'changing')).running_requests < streams.length) await pause();
    place('shakespeare');
    const later = await ask(url, LONG);
    assert.notEqual(later.generation, former.generation);
    assert.notEqual(later.text, former.text);
    for (const answer of await Promise.all(streams)) assert.deepEqual(answer, former);
    assert.deepEqual(await ask(url, LONG), later);
    place('pirate');
    assert.deepEqual(await ask(url, LONG), former);
    const all = (await list(url)).filter(({ id }) => id === 'changing');
    assert.ok(all.some(({ generation }) => generation === former.generation));
    await unload(url, 'changing');
    assert.deepEqual((await adapterBytes(url)).slice(0, 2), [0, 0]);
  });
});

interface Answered {
  readonly text: string;
  readonly generation: string | null;
}

async function ask(url: string, parameters: JsonObject): Promise<Answered> {
  const response = await send(`${url}/generate`, parameters);
  const answer = (await response.json()) as { generated_text: string; details: { adapter_generation: string } };
  const generation = response.headers.get('x-adapter-generation');
  assert.equal(answer.details.adapter_generation, generation);
  return { text: answer.generated_text, generation };
}

async function stream(url: string, parameters: JsonObject): Promise<Answered> {
  const response = await send(`${url}/generate_stream`, parameters);
  const text = await response.text();
  const last = events({ status: 200, contentType: '', text }).at(-1) as {
    generated_text: string;
    details: { adapter_generation: string };
  };
  const generation = response.headers.get('x-adapter-generation');
  assert.equal(last.details.adapter_generation, generation);
  return { text: last.generated_text, generation };
}

function send(url: string, parameters: JsonObject): Promise<Response> {
  const headers = { 'content-type': 'application/json' };
  return fetch(url, { method: 'POST', headers, body: JSON.stringify({ inputs: PROMPT, parameters }) });
}

function pause(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, 5));
}

describe('--preloaded-adapter-ids', () => {
  test('are resident and pinned before the first request, and others are still loaded', async () => {
    const args = [...QUIET_DEMO_ARGS, '--adapter-api', '--max-active-adapters', '4'];
    const server = await LoraxServer.start([...args, '--preloaded-adapter-ids', 'pirate,austen']);
    try {
      const { url } = server;
      const resident = async (): Promise<readonly string[]> => {
        const all = (await list(url)).filter(({ state }) => state === 'resident');
        return all.map(({ id, pinned }) => `${id} ${pinned}`).toSorted();
      };
      assert.deepEqual(await resident(), ['austen true', 'medusa true', 'pirate true']);
      for (const id of ['doyle', 'carroll', 'stoker']) await textOf(url, { adapter_id: id });
      assert.deepEqual(await resident(), ['austen true', 'medusa true', 'pirate true', 'stoker false']);
    } finally {
      await server.stop();
    }
  });

  test('that cannot be had end the start and say which', async () => {
    const finished = await run(LORAX, [
      'serve',
      '--port',
      '0',
      ...QUIET_DEMO_ARGS,
      '--preloaded-adapter-ids',
      'pirate,nobody',
    ]);
    assert.notEqual(finished.code, 0);
    assert.match(finished.stdout + finished.stderr, /nobody/);
  });
});
