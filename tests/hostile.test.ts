import assert from 'node:assert/strict';
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  readlinkSync,
  rmSync,
  symlinkSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { FakeHub } from '#server/sources/testing/fake-hub.ts';
import { QUIET_DEMO_ARGS } from './demo.ts';
import { writeHostileAdapter, type HostileAdapter } from './hostile/hostile-adapter.ts';
import { HOSTILE_CONFIGS } from './hostile/hostile-configs.ts';
import { HOSTILE_FOLDERS } from './hostile/hostile-folders.ts';
import { HOSTILE_HEADS } from './hostile/hostile-heads.ts';
import { HOSTILE_IDS } from './hostile/hostile-ids.ts';
import { HOSTILE_PICKLES, WITNESS } from './hostile/hostile-pickles.ts';
import { HOSTILE_SAFETENSORS } from './hostile/hostile-safetensors.ts';
import { HOSTILE_TEXTS } from './hostile/hostile-texts.ts';
import { CONFIG, SOUND_WEIGHTS, WEIGHTS, loraConfig } from './hostile/sound-files.ts';
import { get, json, post, type Reply } from './http.ts';
import { LoraxServer } from './lorax-process.ts';
import { inRepository, REPOSITORY } from './repository.ts';

/** Far above what the slowest machine needs, far below what an attack that works would take. */
const DEADLINE_MS = 60_000;
const MIB = 2 ** 20;
const PROMPT = 'The sea';

/** A server of the demo model that finds its adapters in a folder of ours or on a Hub of ours, and writes only where we see it. */
class Victim {
  readonly home = mkdtempSync(join(tmpdir(), 'lorax-hostile-'));
  readonly root = join(this.home, 'adapters');
  #server: LoraxServer | undefined;
  #expected: readonly unknown[] = [];

  async start(env: Readonly<Record<string, string>> = {}): Promise<void> {
    for (const name of ['adapters', 'tmp', 'hub']) mkdirSync(join(this.home, name));
    cpSync(inRepository('packages/demo-model/adapters/pirate'), join(this.root, 'good'), { recursive: true });
    symlinkSync('.', join(this.root, 'circle'));
    const args = [...QUIET_DEMO_ARGS, '--adapter-root', this.root, '--adapter-api'];
    const places = { HOME: this.home, TMPDIR: join(this.home, 'tmp'), HF_HUB_CACHE: join(this.home, 'hub') };
    this.#server = await LoraxServer.start(args, { env: { ...places, ...env } });
    this.#expected = await this.#askBystanders();
  }

  async stop(): Promise<void> {
    const ended = await this.#server?.stop();
    rmSync(this.home, { recursive: true });
    assert.deepEqual([ended?.code, ended?.stderr], [0, '']);
  }

  get url(): string {
    return this.#server!.url;
  }

  get pid(): number {
    return this.#server!.pid;
  }

  send(path: string, body: unknown): Promise<Reply> {
    return post(this.url + path, body, AbortSignal.timeout(DEADLINE_MS));
  }

  ask(id: string, { prompt = PROMPT, inChat }: Partial<HostileAdapter>, source = 'local'): Promise<Reply> {
    const from = { adapter_id: id, adapter_source: source };
    if (inChat !== true) return this.send('/generate', { inputs: prompt, parameters: { ...from, max_new_tokens: 2 } });
    const messages = [{ role: 'user', content: prompt }];
    return this.send('/v1/chat/completions', { model: '', ...from, messages, max_tokens: 2 });
  }

  /** One who does no harm is answered meanwhile, with an adapter and without, as ever. */
  async beside<T>(work: Promise<T>): Promise<T> {
    const [result, answers] = await Promise.all([work, this.#askBystanders()]);
    assert.deepEqual(answers, this.#expected);
    return result;
  }

  async #askBystanders(): Promise<unknown[]> {
    const answers = await Promise.all([
      this.ask('good', {}),
      this.send('/generate', { inputs: PROMPT, parameters: { max_new_tokens: 2 } }),
    ]);
    return answers.map((answer) => json(answer)['generated_text']);
  }

  async unload(id: string, source = 'local'): Promise<void> {
    const path = `/v1/adapters/${encodeURIComponent(id)}?source=${source}`;
    const { status } = await fetch(this.url + path, { method: 'DELETE' });
    assert.ok(status === 200 || status === 404, `${status}`);
  }

  /** Bytes of adapters on device, host and disk, and what else must come back to where it was. */
  async holds(): Promise<Record<string, number>> {
    const { text } = await get(`${this.url}/metrics`);
    const gauges =
      /^lorax_(adapters_resident|adapter_(?:host_|disk_)?bytes|adapter_queue_length|kv_cells_used|queue_length) (\S+)$/gm;
    const found = [...text.matchAll(gauges)].map(([, name = '', value]) => [name, Number(value)] as const);
    assert.equal(found.length, 7);
    return Object.fromEntries(found);
  }

  /** Files of adapters that the process has open or mapped. */
  get openFiles(): readonly string[] {
    const ids = readdirSync(`/proc/${this.pid}/fd`);
    const open = ids.map((id) => linkTarget(`/proc/${this.pid}/fd/${id}`));
    const mapped = readFileSync(`/proc/${this.pid}/maps`, 'utf8').split('\n');
    return [...open, ...mapped].filter((line) => line.includes(this.root));
  }

  /** States of the processes that it started: `Z` is one that ended and was never asked about. */
  get childStates(): readonly string[] {
    const children = readFileSync(`/proc/${this.pid}/task/${this.pid}/children`, 'utf8').split(' ').filter(Boolean);
    return children.map((pid) => /\) (\w)/.exec(readFileSync(`/proc/${pid}/stat`, 'utf8'))?.[1] ?? '');
  }

  get residentBytes(): number {
    const [, kibibytes] = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${this.pid}/status`, 'utf8')) ?? [];
    return Number(kibibytes) * 1024;
  }
}

/** A descriptor may be closed while it is looked at. */
function linkTarget(path: string): string {
  try {
    return readlinkSync(path);
  } catch {
    return '';
  }
}

function assertRefused({ status, text }: Reply, hostile: Pick<HostileAdapter, 'status' | 'says'>, home: string): void {
  assert.equal(status, hostile.status ?? 422, text.slice(0, 2000));
  const { error } = JSON.parse(text) as { error: string | { message: string } };
  assert.match(typeof error === 'string' ? error : error.message, hostile.says);
  for (const path of [REPOSITORY, home]) assert.ok(!text.includes(path), `tells about this machine: ${text}`);
}

const GROUPS: Readonly<Record<string, readonly HostileAdapter[]>> = {
  'safetensors files': HOSTILE_SAFETENSORS,
  configurations: HOSTILE_CONFIGS,
  pickles: HOSTILE_PICKLES,
  folders: HOSTILE_FOLDERS,
  'draft heads': HOSTILE_HEADS,
  'texts and tokenizers': HOSTILE_TEXTS,
};

describe('an adapter that means harm is refused, others are served meanwhile, and nothing is left behind:', () => {
  const victim = new Victim();
  let held: Record<string, number>;
  let residentBytes: number;
  before(async () => {
    await victim.start();
    held = await victim.holds();
    residentBytes = victim.residentBytes;
  });
  after(() => victim.stop());

  for (const [group, adapters] of Object.entries(GROUPS)) {
    describe(group, () => {
      for (const hostile of adapters) {
        test(hostile.name, async () => {
          const folder = join(victim.root, hostile.name);
          writeHostileAdapter(folder, hostile);
          try {
            assertRefused(await victim.beside(victim.ask(hostile.name, hostile)), hostile, victim.home);
            await victim.unload(hostile.name);
            assert.deepEqual(await victim.holds(), held);
            assert.deepEqual(victim.openFiles, []);
          } finally {
            rmSync(folder, { recursive: true });
          }
        });
      }
    });
  }

  test('ids', async () => {
    for (const { id, source = 'local', status } of HOSTILE_IDS) {
      const says = JSON.stringify({ id, source }).slice(0, 200);
      const answers = await victim.beside(
        Promise.all([
          victim.ask(id, {}, source),
          victim.ask(id, { inChat: true }, source),
          victim.send('/v1/adapters', { id, source }),
        ]),
      );
      for (const answer of answers) assert.equal(answer.status, status, `${says}: ${answer.text.slice(0, 500)}`);
      const path = `/v1/adapters/${encodeURIComponent(Buffer.from(id).toString())}?source=${source}`;
      for (const method of ['GET', 'DELETE']) {
        const { status: found } = await fetch(victim.url + path, { method });
        assert.ok(found >= 400 && found < 500, `${method} ${says}: ${found}`);
      }
    }
    assert.deepEqual(await victim.holds(), held);
  });

  test('all of them leave no file, no process and no memory', () => {
    assert.deepEqual(readdirSync(victim.root).toSorted(), ['circle', 'good']);
    assert.deepEqual(readdirSync(join(victim.home, 'tmp')), []);
    assert.ok(!existsSync(WITNESS), 'code of a pickle ran');
    assert.deepEqual(readdirSync(join(victim.home, 'hub')), []);
    assert.ok(!victim.childStates.includes('Z'), victim.childStates.join());
    const grownBytes = victim.residentBytes - residentBytes;
    assert.ok(grownBytes < 512 * MIB, `grew by ${grownBytes / MIB} MiB`);
  });
});

/** A few that a Hub would carry as well. */
const ON_THE_HUB: ReadonlySet<string> = new Set([
  ...['overlap', 'nan', 'shape-of-2-to-62', 'rank-of-2-to-31', 'targets-for-ever', 'index-leads-out'],
  ...['pickle-os-system', 'pickle-bomb', 'heads-tensor-missing', 'tokenizer-ids-of-a-billion', 'template-raise'],
]);

describe('from the Hub', () => {
  const victim = new Victim();
  let hub: FakeHub;
  let held: Record<string, number>;
  before(async () => {
    hub = await FakeHub.start();
    await victim.start({ HF_ENDPOINT: hub.endpoint });
    held = await victim.holds();
  });
  after(async () => {
    await victim.stop();
    await hub.stop();
  });

  const chosen = Object.values(GROUPS)
    .flat()
    .filter(({ name }) => ON_THE_HUB.has(name));
  test('all that were chosen are there', () => assert.equal(chosen.length, ON_THE_HUB.size));

  for (const hostile of chosen) {
    test(`${hostile.name} is refused and leaves nothing behind`, async () => {
      const files = Object.entries(hostile.files).filter(([, content]) => typeof content !== 'function');
      const id = `hostile/${hostile.name}`;
      hub.publish(id, Object.fromEntries(files) as Record<string, string | Uint8Array>);
      assertRefused(await victim.beside(victim.ask(id, hostile, 'hub')), hostile, victim.home);
      await victim.unload(id, 'hub');
      assert.deepEqual(await victim.holds(), held);
    });
  }

  test('files whose names lead out of the repository are not fetched', async () => {
    const names = ['../../../evil.json', '/tmp/lorax-evil.json', 'tokenizer.json/../../evil.json', '..\\evil.json'];
    const evil = Object.fromEntries(names.map((name) => [name, '{}']));
    hub.publish('hostile/names', { [CONFIG]: loraConfig(), [WEIGHTS]: SOUND_WEIGHTS, ...evil });
    json(await victim.beside(victim.ask('hostile/names', {}, 'hub')));
    await victim.unload('hostile/names', 'hub');
    assert.ok(hub.seen.every((request) => !request.includes('evil')));
    assert.deepEqual(await victim.holds(), held);
  });
});
