import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { readCudaOptions } from './options.ts';
import { comparePeft, readPeft } from './peft.ts';
import { SIZES } from './sizes.ts';

const MAIN = fileURLToPath(new URL('main.js', import.meta.url));
const PEFT = { device: 'a card', layers: 32, rows: 32, adapters: 32, rank: 16, context: 512, tokensPerSecond: 40 };

const folder = mkdtempSync(join(tmpdir(), 'lorax-bench-cuda-'));
after(() => rmSync(folder, { recursive: true }));

function bench(...args: readonly string[]) {
  return spawnSync(process.execPath, [MAIN, ...args], { encoding: 'utf8' });
}

function peftFile(figures: object): string {
  const file = join(folder, 'peft.json');
  writeFileSync(file, `a warning of the libraries\n${JSON.stringify(figures)}\n`);
  return file;
}

test('a card that is not there is told, and nothing is claimed', () => {
  const { status, stdout, stderr } = bench('--device', 'cuda:99');
  assert.deepEqual([status, stderr], [0, '']);
  assert.match(stdout, /^nothing was measured: .+\n$/);
});

test('a wrong flag is named', () => {
  for (const [args, message] of [
    [['--only', 'decode,speed'], /--only: must be one of decode, prefill, adapters, drafting, http/],
    [['--layers', '0'], /--layers: must be a whole number/],
    [['--device', 'cpu'], /--device: must be cuda or cuda:N/],
    [['--speed'], /--speed/],
  ] as const) {
    assert.throws(() => readCudaOptions(args), message);
  }
  assert.throws(() => readPeft(join(folder, 'none'), 32, SIZES), /--peft: .*no such file/);
  assert.throws(() => readPeft(peftFile({ ...PEFT, rows: 8 }), 32, SIZES), /--peft: measured rows 8, not 32/);
});

test('what PEFT reached is compared with the same rows and adapters here', () => {
  const peft = readPeft(peftFile(PEFT), 32, SIZES);
  const found = (work: string, tokensPerSecond: number) => {
    return { work, value: 1, unit: '', limit: undefined, details: { tokensPerSecond } };
  };
  const results = [
    found('decode 8 rows, 8 adapters of rank 16', 1000),
    found('decode 32 rows, 32 adapters of rank 16', 3000),
    found('HTTP, 32 streams, 32 adapters of rank 16', 5000),
  ];
  assert.deepEqual(
    comparePeft(peft, results, SIZES).map(({ work, value }) => [work, value]),
    [
      ['decode 32 rows, 32 adapters of rank 16, over PEFT', 75],
      ['HTTP, 32 streams, 32 adapters of rank 16, over PEFT', 125],
    ],
  );
});
