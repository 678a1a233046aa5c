/**
 * Does what a guide shows, as its reader would: starts the servers, exports what they print and runs the rest in a shell.
 * The guide's port and folder stand for free ones. Knows no page.
 */

import { existsSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Helper, LoraxServer, runCommand } from './lorax-process.ts';
import { inRepository } from './repository.ts';

const ADDRESS = 'http://127.0.0.1:3000';
const FOLDER = '/tmp/lorax-guide';

/** Variables in front of it count as in a shell. */
const SERVE = /^((?:\w+=\S+ )*)(?:npm start|npx lorax serve (.*))$/s;
const HELPER = /^node (scripts\/\w+-server\.mjs) ?(.*)$/s;
const EXPORT = /^export (\w+)=(.*)$/gm;
const HELPER_IS_READY = /^# Ctrl-C ends it$/m;

/** What has to be installed for a command, beside what every machine has that runs the tests. */
const NEEDS: readonly (readonly [RegExp, string])[] = [
  [/swift-server\.mjs/, 'swift-proxy-server'],
  [/^hf /, 'hf'],
];

/** Debian keeps daemons where not every user's path leads. */
const PROGRAM_FOLDERS = [...(process.env['PATH'] ?? '').split(':'), '/usr/bin', '/usr/sbin'];

export function canRun(command: string): boolean {
  const needed = NEEDS.filter(([pattern]) => pattern.test(command)).map(([, program]) => program);
  return needed.every((program) => PROGRAM_FOLDERS.some((folder) => existsSync(join(folder, program))));
}

export class GuideReader {
  readonly #folder = mkdtempSync(join(tmpdir(), 'lorax-guide-'));
  #env: Readonly<Record<string, string>> = {};
  #server: LoraxServer | undefined;
  readonly #helpers: Helper[] = [];

  constructor() {
    mkdirSync(join(this.#folder, 'home'));
  }

  /** What the command printed, with the guide's own address and folder in it; nothing of servers. Rejects where it fails. */
  async run(shown: string): Promise<string> {
    const command = shown.replaceAll(ADDRESS, () => this.#server?.url ?? ADDRESS).replaceAll(FOLDER, this.#folder);
    const [, variables = '', args = '--demo'] = SERVE.exec(command) ?? [];
    if (SERVE.test(command)) return this.#serve(variables, args);
    const [, program, helperArgs = ''] = HELPER.exec(command) ?? [];
    if (program !== undefined) return this.#help(program, helperArgs);
    if (command.startsWith('export ')) return this.#export(command);
    const { code, stdout, stderr } = await runCommand('sh', ['-c', command], this.#around());
    if (code !== 0) throw new Error(`${command}\nended with ${code}: ${stdout}${stderr}`);
    return stdout.replaceAll(this.#server?.url ?? ADDRESS, ADDRESS).replaceAll(this.#folder, FOLDER);
  }

  async stop(): Promise<void> {
    await this.#server?.stop();
    for (const helper of this.#helpers) await helper.stop();
    rmSync(this.#folder, { recursive: true });
  }

  /** Its reader has ended the one before. */
  async #serve(variables: string, args: string): Promise<string> {
    await this.#server?.stop();
    this.#server = undefined;
    const more = variables.split(' ').flatMap((text) => (text === '' ? [] : [pairOf(text)]));
    const env = { ...this.#around().env, ...Object.fromEntries(more) };
    this.#server = await LoraxServer.start([...wordsOf(args), '--threads', '1'], { env });
    return '';
  }

  async #help(program: string, args: string): Promise<string> {
    const helper = await Helper.start(inRepository(program), wordsOf(args), HELPER_IS_READY, this.#around());
    this.#helpers.push(helper);
    this.#export(helper.printed);
    return helper.printed;
  }

  #export(text: string): string {
    for (const [, name = '', value = ''] of text.matchAll(EXPORT)) this.#env = { ...this.#env, [name]: value };
    return '';
  }

  #around(): { readonly env: Readonly<Record<string, string>> } {
    return { env: { HOME: join(this.#folder, 'home'), AWS_EC2_METADATA_DISABLED: 'true', ...this.#env } };
  }
}

function wordsOf(args: string): string[] {
  return args.split(/\s+/).filter((word) => word !== '' && word !== '\\');
}

function pairOf(assignment: string): [string, string] {
  const at = assignment.indexOf('=');
  return [assignment.slice(0, at), assignment.slice(at + 1)];
}
