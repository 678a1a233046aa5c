import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';

import { envOf, flagOf } from '../config/option-spec.ts';
import { OPTIONS } from '../config/options.ts';
import { DISTILL_OPTIONS, MEDUSA_OPTIONS } from '../config/train-options.ts';

const BIN = new URL('../../bin/', import.meta.url);

function run(bin: string, ...args: string[]) {
  const program = fileURLToPath(new URL(bin, BIN));
  // Nothing of the developer's environment may count as an option.
  const env = { PATH: process.env['PATH'] };
  const { status, stdout, stderr } = spawnSync(process.execPath, [program, ...args], { encoding: 'utf8', env });
  return { status, stdout, stderr };
}

test('--help names the commands', () => {
  const { status, stdout, stderr } = run('lorax.js', '--help');
  assert.deepEqual([status, stderr], [0, '']);
  for (const command of ['serve', 'generate', 'doctor', 'train', 'version'])
    assert.match(stdout, new RegExp(`^  ${command} `, 'm'));
});

test('serve --help lists every option with its variable, and none that only LoRAX has', () => {
  const { status, stdout } = run('lorax.js', 'serve', '--help');
  assert.equal(status, 0);
  for (const [key, row] of Object.entries(OPTIONS)) {
    assert.match(stdout, new RegExp(`${flagOf(key)} [<[]`), key);
    if (!('env' in row)) assert.match(stdout, new RegExp(`env:\\s+${envOf(key)}\\)`), key);
  }
  assert.ok(!stdout.includes('--quantize'));
});

test('the version is that of the package, however one asks', () => {
  const { version } = JSON.parse(readFileSync(new URL('../package.json', BIN), 'utf8')) as { version: string };
  for (const args of [['--version'], ['version'], ['serve', '--version']]) {
    assert.deepEqual(run('lorax.js', ...args), { status: 0, stdout: `${version}\n`, stderr: '' });
  }
});

test('lorax-launcher is lorax serve', () => {
  assert.equal(run('lorax-launcher.js', '--help').stdout, run('lorax.js', 'serve', '--help').stdout);
});

for (const [args, message] of [
  [['serve'], 'error: option --model-id: is required; name a folder or a Hub id, or use --demo for the bundled model'],
  [['serve', '--demo', '--port', 'x'], 'error: option --port: must be a whole number from 0 to 65535, not "x"'],
  [['serve', '--demo', '--prot', '1'], "error: unknown option '--prot' (Did you mean --port?)"],
  [['serve', '--demo', '--port'], "error: option '-p, --port <N>' argument missing"],
  [['serve', '--demo', 'extra'], 'error: option --demo: must be true or false, not "extra"'],
  [['serve', 'extra'], "error: too many arguments for 'serve'. Expected 0 arguments but got 1."],
  [['generate', '--demo'], 'error: option --prompt: is required; - reads the standard input'],
  [['generate', '--demo', '--prompt', 'x', '--top-p', '0'], 'error: option --top-p: must be more than 0 and at most 1'],
  [['frobnicate'], "error: unknown command 'frobnicate'"],
] as const) {
  test(`lorax ${args.join(' ')} ends with one line on stderr`, () => {
    assert.deepEqual(run('lorax.js', ...args), { status: 2, stdout: '', stderr: `${message}\n` });
  });
}

test('train lists its options, and says which is missing before it loads a model', () => {
  const medusa = run('lorax.js', 'train', 'medusa', '--help');
  assert.equal(medusa.status, 0);
  for (const key of [...Object.keys(MEDUSA_OPTIONS), 'modelId', 'adapterId', 'threads']) {
    assert.match(medusa.stdout, new RegExp(`${flagOf(key)} [<[]`), key);
  }
  const distill = run('lorax.js', 'train', 'distill', '--help');
  for (const key of Object.keys(DISTILL_OPTIONS)) assert.match(distill.stdout, new RegExp(`${flagOf(key)} [<[]`), key);
  assert.deepEqual(run('lorax.js', 'train', 'medusa', '--demo'), {
    ...{ status: 2, stdout: '', stderr: 'error: option --data: is required: the file to learn from\n' },
  });
  assert.deepEqual(run('lorax.js', 'train', 'distill'), {
    ...{ status: 2, stdout: '', stderr: 'error: option --input-filename: is required\n' },
  });
});
