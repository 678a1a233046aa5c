/** The command line as its users have it: child processes, their output and their end. Knows no route of the server. */

import { spawn, type ChildProcessByStdio } from 'node:child_process';
import { tmpdir } from 'node:os';
import type { Readable, Writable } from 'node:stream';
import { inRepository, REPOSITORY } from './repository.ts';

export const LORAX = inRepository('packages/server/bin/lorax.js');
export const LAUNCHER = inRepository('packages/server/bin/lorax-launcher.js');

export interface Finished {
  readonly code: number | NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface Surroundings {
  /** Besides PATH and an empty HOME. */
  readonly env?: Readonly<Record<string, string>>;
  readonly input?: string;
}

/** Runs node on a program of the repository to its end. */
export async function run(program: string, args: readonly string[], around: Surroundings = {}): Promise<Finished> {
  return new Running(process.execPath, [program, ...args], around).ended;
}

/** Runs any command in the repository's root to its end. */
export async function runCommand(
  command: string,
  args: readonly string[],
  around: Surroundings = {},
): Promise<Finished> {
  return new Running(command, args, around).ended;
}

/** A program that runs beside the server until it is stopped. */
export class Helper {
  /** On stdout, until it was ready. */
  readonly printed: string;
  readonly #running: Running;

  private constructor(printed: string, running: Running) {
    this.printed = printed;
    this.#running = running;
  }

  /** Settles when it has printed what matches. */
  static async start(program: string, args: readonly string[], ready: RegExp, around: Surroundings): Promise<Helper> {
    const running = new Running(process.execPath, [program, ...args], around);
    await running.untilStdout(ready);
    return new Helper(running.stdout, running);
  }

  stop(): Promise<Finished> {
    this.#running.kill('SIGTERM');
    return this.#running.ended;
  }
}

export class LoraxServer {
  readonly url: string;
  readonly pid: number;
  readonly #running: Running;

  private constructor(url: string, running: Running) {
    this.url = url;
    this.pid = running.pid;
    this.#running = running;
  }

  /** Serves on a free port of 127.0.0.1; settles when requests can be sent. */
  static async start(args: readonly string[], around: Surroundings = {}): Promise<LoraxServer> {
    const running = new Running(process.execPath, [LORAX, 'serve', '--port', '0', '--json-output', ...args], around);
    const ready = await running.untilStdout(/^.*"msg":"serving".*$/m);
    return new LoraxServer((JSON.parse(ready) as { url: string }).url, running);
  }

  get stderr(): string {
    return this.#running.stderr;
  }

  /** Asks it to end; settles when it has. */
  stop(): Promise<Finished> {
    this.#running.kill('SIGTERM');
    return this.#running.ended;
  }
}

class Running {
  stdout = '';
  stderr = '';
  readonly ended: Promise<Finished>;
  readonly #child: ChildProcessByStdio<Writable, Readable, Readable>;
  #onOutput: (() => void) | undefined;

  constructor(command: string, args: readonly string[], { env = {}, input = '' }: Surroundings) {
    this.#child = spawn(command, args, {
      cwd: REPOSITORY,
      env: { PATH: process.env['PATH'], HOME: `${tmpdir()}/lorax-test-home`, ...env },
      stdio: ['pipe', 'pipe', 'pipe'],
    });
    this.#collect('stdout');
    this.#collect('stderr');
    this.#child.stdin.on('error', () => {}); // a command that reads nothing may end before its input is written
    this.#child.stdin.end(input);
    this.ended = new Promise((resolve, reject) => {
      this.#child.once('error', reject);
      this.#child.once('close', (code, signal) => {
        resolve({ code: code ?? signal, stdout: this.stdout, stderr: this.stderr });
        this.#onOutput?.();
      });
    });
  }

  get pid(): number {
    return this.#child.pid ?? -1;
  }

  kill(signal: NodeJS.Signals): void {
    this.#child.kill(signal);
  }

  /** The matching part of stdout; rejects with all output where the process ends without it. */
  untilStdout(pattern: RegExp): Promise<string> {
    return new Promise((resolve, reject) => {
      this.#onOutput = () => {
        const [found] = pattern.exec(this.stdout) ?? [];
        if (found !== undefined) resolve(found);
        else if (this.#child.exitCode !== null) reject(new Error(`ended early:\n${this.stdout}${this.stderr}`));
      };
      this.#onOutput();
    });
  }

  #collect(name: 'stdout' | 'stderr'): void {
    this.#child[name].setEncoding('utf8').on('data', (text: string) => {
      this[name] += text;
      this.#onOutput?.();
    });
  }
}
