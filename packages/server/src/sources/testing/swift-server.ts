/**
 * OpenStack Swift as a real S3 server for tests: it checks signatures, ETags, ranges and conditions. Four daemons on free
 * loopback ports over a folder of their own; ended by their process ids. Needs Debian's packages, not npm's.
 */

import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { createServer, type AddressInfo } from 'node:net';
import { userInfo } from 'node:os';
import { delimiter, join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { promisify } from 'node:util';

import { CreateBucketCommand, DeleteObjectCommand, PutObjectCommand, S3Client } from '@aws-sdk/client-s3';

import type { S3Key } from '../s3-reader.ts';
import type { S3Backend } from './s3-setting.ts';
import { makeTemporaryFolder, removeFolder } from './temporary-folder.ts';

const STORES = ['account', 'container', 'object'] as const;
type Daemon = (typeof STORES)[number] | 'proxy';

const START_LIMIT_MS = 60_000;
const STOP_LIMIT_MS = 5000;
const PIPELINE = 'catch_errors healthcheck cache s3api tempauth copy slo dlo versioned_writes proxy-server';

/** A user of the same account whom no bucket lets in. */
export const STRANGER: S3Key = { accessKeyId: 'test:stranger', secretAccessKey: 'strange' };

interface Running {
  readonly name: Daemon;
  readonly child: ChildProcess;
  readonly ended: Promise<void>;
  /** The end of what it printed. */
  output: string;
}

export class SwiftServer implements S3Backend {
  readonly endpoint: string;
  readonly credentials: S3Key = { accessKeyId: 'test:tester', secretAccessKey: 'testing' };
  readonly #folder: string;
  readonly #daemons: readonly Running[];
  readonly #client: S3Client;
  readonly #buckets = new Map<string, Promise<unknown>>();

  private constructor(folder: string, port: number, daemons: readonly Running[]) {
    this.endpoint = `http://127.0.0.1:${port}`;
    this.#folder = folder;
    this.#daemons = daemons;
    this.#client = new S3Client({
      endpoint: this.endpoint,
      forcePathStyle: true,
      region: 'us-east-1',
      credentials: this.credentials,
    });
  }

  /** Rejects, with nothing left running, where Swift is not installed or does not answer in time. */
  static async start(): Promise<SwiftServer> {
    const folder = makeTemporaryFolder();
    const daemons: Running[] = [];
    try {
      const ports = await freePorts(['account', 'container', 'object', 'proxy']);
      await writeConfiguration(folder, ports);
      for (const name of Object.keys(ports) as Daemon[]) daemons.push(startDaemon(folder, name));
      await Promise.all(daemons.map((daemon) => untilHealthy(daemon, ports[daemon.name])));
      return new SwiftServer(folder, ports.proxy, daemons);
    } catch (error) {
      await stopAll(daemons, folder);
      throw error;
    }
  }

  async put(bucket: string, key: string, content: string | Uint8Array): Promise<void> {
    const made = this.#buckets.get(bucket) ?? this.#client.send(new CreateBucketCommand({ Bucket: bucket }));
    this.#buckets.set(bucket, made);
    await made;
    await this.#client.send(new PutObjectCommand({ Bucket: bucket, Key: key, Body: content }));
  }

  async remove(bucket: string, key: string): Promise<void> {
    await this.#client.send(new DeleteObjectCommand({ Bucket: bucket, Key: key }));
  }

  async stop(): Promise<void> {
    this.#client.destroy();
    await stopAll(this.#daemons, this.#folder);
  }
}

type Ports = Readonly<Record<Daemon, number>>;

/** All at once, so that none is given twice. */
async function freePorts(names: readonly Daemon[]): Promise<Ports> {
  const servers = await Promise.all(names.map(listenAnywhere));
  const ports = servers.map((server) => (server.address() as AddressInfo).port);
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))));
  return Object.fromEntries(names.map((name, index) => [name, ports[index]])) as Ports;
}

function listenAnywhere(): Promise<ReturnType<typeof createServer>> {
  const server = createServer();
  return new Promise((resolve, reject) => {
    server.once('error', reject).listen(0, '127.0.0.1', () => resolve(server));
  });
}

async function writeConfiguration(folder: string, ports: Ports): Promise<void> {
  mkdirSync(join(folder, 'devices/d1'), { recursive: true });
  mkdirSync(join(folder, 'recon'));
  const hash = { swift_hash_path_suffix: 'lorax', swift_hash_path_prefix: 'lorax' };
  writeIni(folder, 'swift.conf', { 'swift-hash': hash, 'storage-policy:0': { name: 'only', default: 'yes' } });
  for (const name of STORES) {
    writeIni(folder, `${name}.conf`, {
      DEFAULT: {
        ...common(folder, ports[name]),
        devices: join(folder, 'devices'),
        mount_check: 'false',
        recon_cache_path: join(folder, 'recon'),
      },
      'pipeline:main': { pipeline: `healthcheck ${name}-server` },
      [`app:${name}-server`]: { use: `egg:swift#${name}` },
      'filter:healthcheck': { use: 'egg:swift#healthcheck' },
    });
  }
  writeIni(folder, 'proxy.conf', proxySections(folder, ports.proxy));
  await Promise.all(STORES.map((name) => makeRing(folder, name, ports[name])));
}

function common(folder: string, port: number): Record<string, string> {
  const address = { bind_ip: '127.0.0.1', bind_port: String(port) };
  // No worker processes: what is spawned is what has to be ended.
  return { ...address, swift_dir: folder, user: userInfo().username, workers: '0' };
}

function proxySections(folder: string, port: number): Record<string, Record<string, string>> {
  const filters = PIPELINE.split(' ').slice(0, -1);
  const sections = Object.fromEntries(filters.map((name) => [`filter:${name}`, { use: `egg:swift#${name}` }]));
  return {
    DEFAULT: common(folder, port),
    'pipeline:main': { pipeline: PIPELINE },
    'app:proxy-server': { use: 'egg:swift#proxy', account_autocreate: 'true' },
    ...sections,
    // tempauth wants a memcache configured and works without one that answers; nobody listens on port 1.
    'filter:cache': { use: 'egg:swift#memcache', memcache_servers: '127.0.0.1:1' },
    'filter:s3api': { use: 'egg:swift#s3api', s3_acl: 'no', location: 'us-east-1' },
    'filter:tempauth': { use: 'egg:swift#tempauth', user_test_tester: 'testing .admin', user_test_stranger: 'strange' },
  };
}

function writeIni(folder: string, name: string, sections: Record<string, Readonly<Record<string, string>>>): void {
  const text = Object.entries(sections).map(([section, values]) => {
    const lines = Object.entries(values).map(([key, value]) => `${key} = ${value}`);
    return [`[${section}]`, ...lines, ''].join('\n');
  });
  writeFileSync(join(folder, name), text.join('\n'));
}

/** One device with all partitions. */
async function makeRing(folder: string, name: string, port: number): Promise<void> {
  const builder = join(folder, `${name}.builder`);
  const device = `--region 1 --zone 1 --ip 127.0.0.1 --port ${port} --device d1 --weight 1`;
  for (const step of ['create 4 1 1', `add ${device}`, 'rebalance']) {
    await promisify(execFile)('swift-ring-builder', [builder, ...step.split(' ')], { env: environment() });
  }
}

function startDaemon(folder: string, name: Daemon): Running {
  const child = spawn(`swift-${name}-server`, [join(folder, `${name}.conf`), '--verbose'], {
    env: environment(),
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const kill = (): void => void child.kill('SIGKILL');
  // A test run that ends early takes its daemons along.
  process.once('exit', kill);
  const ended = new Promise<void>((resolve) => {
    child.once('error', () => resolve());
    child.once('close', () => resolve());
  }).finally(() => process.off('exit', kill));
  const running: Running = { name, child, ended, output: '' };
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text: string) => (running.output = (running.output + text).slice(-4000)));
  }
  return running;
}

async function untilHealthy(daemon: Running, port: number): Promise<void> {
  const end = { isOver: false };
  void daemon.ended.then(() => (end.isOver = true));
  for (const begun = Date.now(); Date.now() - begun < START_LIMIT_MS; await pause(50)) {
    if (end.isOver) break;
    const answer = await fetch(`http://127.0.0.1:${port}/healthcheck`).catch(() => undefined);
    if (answer?.ok === true) return;
  }
  throw new Error(`swift-${daemon.name}-server does not answer (is it installed?):\n${daemon.output}`);
}

async function stopAll(daemons: readonly Running[], folder: string): Promise<void> {
  await Promise.all(daemons.map(stopDaemon));
  removeFolder(folder);
}

async function stopDaemon({ child, ended }: Running): Promise<void> {
  child.kill('SIGTERM');
  const timer = setTimeout(() => child.kill('SIGKILL'), STOP_LIMIT_MS);
  await ended;
  clearTimeout(timer);
}

/** Debian keeps the daemons where not every user's path leads. */
function environment(): Record<string, string> {
  const path = ['/usr/sbin', '/usr/bin', '/sbin', '/bin'].join(delimiter);
  return { PATH: path, HOME: '/nonexistent', LANG: 'C.UTF-8' };
}
