import assert from 'node:assert/strict';
import { test } from 'node:test';

import { LORAX_ENVIRONMENT, LORAX_FLAGS } from './lorax-flags.ts';
import { envOf, flagOf } from './option-spec.ts';
import { OPTIONS } from './options.ts';
import { readServe } from './testing.ts';

/** Every flag of LoRAX's launcher. */
const LAUNCHER_FLAGS = `
  --model-id --revision --adapter-id --source --adapter-source --default-adapter-source --validation-workers --sharded
  --num-shard --quantize --compile --eager --compile-max-batch-size --compile-max-rank --compile-batch-size
  --speculative-tokens --speculation-max-batch-size --preloaded-adapter-ids --preloaded-adapter-source
  --predibase-api-token --dtype --trust-remote-code --max-concurrent-requests --max-best-of --max-stop-sequences
  --max-input-length --max-total-tokens --waiting-served-ratio --max-batch-prefill-tokens --max-batch-total-tokens
  --max-waiting-tokens --eager-prefill --chunked-prefill --prefix-caching --merge-adapter-weights --max-active-adapters
  --adapter-cycle-time-s --adapter-memory-fraction --hostname --port --shard-uds-path --master-addr --master-port
  --huggingface-hub-cache --weights-cache-override --disable-custom-kernels --cuda-memory-fraction --json-output
  --otlp-endpoint --cors-allow-origin --cors-allow-header --cors-allow-method --cors-expose-header
  --cors-allow-credentials --watermark-gamma --watermark-delta --ngrok --ngrok-authtoken --ngrok-edge --env
  --download-only --tokenizer-config-path --backend --embedding-dim --disable-sgmv --memory-wiggle-room
`
  .trim()
  .split(/\s+/);

test("each of the launcher's flags is an option, or is known with a reason, never both", () => {
  const options = Object.keys(OPTIONS).map(flagOf);
  const known = Object.keys(LORAX_FLAGS).map(flagOf);
  for (const flag of LAUNCHER_FLAGS) {
    assert.equal(Number(options.includes(flag)) + Number(known.includes(flag)), 1, flag);
  }
  assert.deepEqual(
    known.filter((flag) => !LAUNCHER_FLAGS.includes(flag)),
    [],
  );
});

for (const [key, { kind, effect, reason, env, harmless }] of Object.entries(LORAX_FLAGS)) {
  const args =
    kind === 'switch' && !harmless.includes('true') ? [flagOf(key)] : [flagOf(key), kind === 'switch' ? 'false' : '7'];
  const value = args[1] ?? 'true';

  test(`${args.join(' ')} is ${effect}`, () => {
    if (effect === 'refused') {
      assert.throws(() => readServe(['--demo', ...args]), {
        code: 'OPTION_INVALID',
        message: `option ${flagOf(key)}: ${reason}`,
      });
    } else {
      const { options, warnings } = readServe(['--demo', ...args]);
      assert.deepEqual(warnings, [`option ${flagOf(key)} has no effect: ${reason}`]);
      assert.deepEqual(options, readServe(['--demo']).options);
    }
  });

  test(`${envOf(key)} in the environment says the same`, () => {
    const read = () => readServe(['--demo'], { [envOf(key)]: value }).warnings;
    if (env === false) assert.deepEqual(read(), []);
    else if (effect === 'refused') assert.throws(read, { message: `option ${envOf(key)} (environment): ${reason}` });
    else assert.deepEqual(read(), [`option ${envOf(key)} (environment) has no effect: ${reason}`]);
  });

  test(`${flagOf(key)} passes in silence where it asks for what happens anyway`, () => {
    for (const word of harmless) assert.deepEqual(readServe(['--demo', flagOf(key), word]).warnings, [], word);
  });
}

test('variables that LoRAX read from the environment alone are not overlooked', () => {
  for (const [name, { effect }] of Object.entries(LORAX_ENVIRONMENT)) {
    const read = () => readServe(['--demo'], { [name]: '1' }).warnings;
    if (effect === 'refused') assert.throws(read, { message: new RegExp(`^option ${name} \\(environment\\): `) });
    else assert.equal(read().length, 1);
  }
});

test("a launcher line of LoRAX's own documentation starts", () => {
  const line =
    '--model-id mistralai/Mistral-7B-Instruct-v0.1 --sharded true --num-shard 1 --max-input-length 512 ' +
    '--max-total-tokens 1024 --max-batch-total-tokens 4096 --max-batch-prefill-tokens 2048 --eager-prefill false ' +
    '--compile -p 8080 --hostname 0.0.0.0 --json-output -e';
  const { options, warnings } = readServe(line.split(' '));
  assert.deepEqual([options.port, options.maxTotalTokens, options.jsonOutput], [8080, 1024, true]);
  assert.equal(warnings.length, 4);
});
