import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { kernelFiles, type KernelFile } from './kernel-files.ts';
import { compileModules, type Compilation, type KernelModules } from './kernel-modules.ts';
import type { Nvrtc } from './nvrtc.ts';
import { NO_FOLDER } from './testing/no-folder.ts';

const HOPPER = { major: 9, minor: 0 };
const FILES = kernelFiles(HOPPER);
const AT_ONCE = 4;
const WORDS = 'a semicolon is missing';

/** Compiles a file when it is told to, to its number among all. A program must live until its compilation has ended. */
class HeldCompiler implements Nvrtc {
  readonly begun: string[] = [];
  readonly options = new Set<string>();
  openCount = 0;
  readonly #names: string[] = [];
  readonly #running = new Map<string, (status: number) => void>();

  version(major: Int32Array, minor: Int32Array): number {
    [major[0], minor[0]] = [13, 0];
    return 0;
  }

  createProgram(program: BigUint64Array, _text: string, name: string): number {
    this.openCount++;
    program[0] = BigInt(this.#names.push(name));
    return 0;
  }

  compileProgram(program: bigint, _optionCount: number, options: string[]): Promise<number> {
    const name = this.#nameOf(program);
    this.begun.push(name);
    for (const option of options) this.options.add(option);
    return new Promise((resolve) => this.#running.set(name, resolve));
  }

  destroyProgram([program]: BigUint64Array): number {
    assert.ok(!this.#running.has(this.#nameOf(program!)));
    this.openCount--;
    return 0;
  }

  logSize(_program: bigint, size: BigUint64Array): number {
    size[0] = BigInt(WORDS.length + 1);
    return 0;
  }

  log(_program: bigint, log: Uint8Array): number {
    new TextEncoder().encodeInto(WORDS, log);
    return 0;
  }

  cubinSize(_program: bigint, size: BigUint64Array): number {
    size[0] = 1n;
    return 0;
  }

  cubin(program: bigint, cubin: Uint8Array): number {
    cubin[0] = FILES.indexOf(this.#nameOf(program) as KernelFile);
    return 0;
  }

  get running(): string[] {
    return [...this.#running.keys()];
  }

  /** Whoever waits for it has gone on afterwards. */
  async end(name: string, status = 0): Promise<void> {
    const settle = this.#running.get(name)!;
    this.#running.delete(name);
    settle(status);
    await new Promise(setImmediate);
  }

  /** The one that began last ends first. */
  async endAll(): Promise<void> {
    for (let name = this.running.at(-1); name !== undefined; name = this.running.at(-1)) await this.end(name);
  }

  #nameOf(program: bigint): string {
    return this.#names[Number(program) - 1]!;
  }
}

let compiler: HeldCompiler;
let cacheFolder: string;
beforeEach(() => {
  compiler = new HeldCompiler();
  cacheFolder = mkdtempSync(join(tmpdir(), 'lorax-modules-'));
});
afterEach(() => {
  assert.equal(compiler.openCount, 0);
  rmSync(cacheFolder, { recursive: true });
});

function begin(options: Partial<Compilation> = {}, architecture = HOPPER): Promise<KernelModules> {
  return compileModules(compiler, architecture, { cacheFolder, signal: new AbortController().signal, ...options });
}

function check(modules: KernelModules, files: readonly KernelFile[] = FILES): void {
  const found = [...modules].map(([file, code]) => [file, ...code]);
  assert.deepEqual(
    found,
    files.map((file) => [file, FILES.indexOf(file)]),
  );
}

describe('compiling kernels', () => {
  it('has some files under way at the same time, and gives all in their order whichever ends first', async () => {
    const modules = begin();
    assert.deepEqual(compiler.running, FILES.slice(0, AT_ONCE));
    await compiler.end(FILES[2]!);
    assert.deepEqual(compiler.begun, FILES.slice(0, AT_ONCE + 1));
    await compiler.endAll();
    check(await modules);
    assert.deepEqual([...compiler.options], ['--gpu-architecture=sm_90a', '--std=c++17']);
  });

  it('leaves out what a card does not know', async () => {
    const modules = begin({}, { major: 8, minor: 6 });
    await compiler.endAll();
    const others = FILES.filter((file) => !file.startsWith('streamed-'));
    check(await modules, others);
    assert.ok(others.length < FILES.length && compiler.options.has('--gpu-architecture=sm_86'));
  });

  it('ends with the words about the first file that does not compile, and keeps those that did', async () => {
    const failing = begin();
    let isOver = false;
    const refused = assert
      .rejects(failing, { code: 'ENGINE_LIBRARY', message: new RegExp(`${FILES[1]} does not compile: ${WORDS}`) })
      .finally(() => (isOver = true));
    await compiler.end(FILES[1]!, 6);
    assert.deepEqual([isOver, compiler.running], [false, [FILES[0], FILES[2], FILES[3]]]);
    await compiler.end(FILES[0]!, 6);
    await compiler.endAll();
    await refused;
    assert.equal(compiler.begun.length, AT_ONCE);
    const again = begin();
    await compiler.endAll();
    check(await again);
    const twice = compiler.begun.filter((name, i) => compiler.begun.indexOf(name) !== i);
    assert.deepEqual(twice, [FILES[0], FILES[1]]);
  });

  it('begins no other file once the start is given up', async () => {
    const controller = new AbortController();
    const modules = begin({ signal: controller.signal });
    controller.abort(new Error('given up'));
    const refused = assert.rejects(modules, /given up/);
    await compiler.endAll();
    await refused;
    assert.equal(compiler.begun.length, AT_ONCE);
  });

  it('tells of what it compiles, and nothing where all was kept', async () => {
    const told: string[] = [];
    const onCompiling: Compilation['onCompiling'] = (architecture, fileCount) => {
      told.push(`${fileCount} for ${architecture}`);
      return { advance: (count) => told.push(`${count} more`), done: () => told.push('done') };
    };
    const first = begin({ onCompiling });
    assert.deepEqual(told, [`${FILES.length} for sm_90`]);
    await compiler.endAll();
    await first;
    assert.deepEqual(told.slice(1), [...FILES.map(() => '1 more'), 'done']);
    check(await begin({ onCompiling }));
    assert.equal(told.at(-1), 'done');
    assert.equal(compiler.begun.length, FILES.length);
  });

  it('compiles every time where nothing can be kept', async () => {
    for (const times of [1, 2]) {
      const modules = begin({ cacheFolder: NO_FOLDER });
      await compiler.endAll();
      check(await modules);
      assert.equal(compiler.begun.length, times * FILES.length);
    }
  });
});
