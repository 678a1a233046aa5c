import assert from 'node:assert/strict';
import { test } from 'node:test';
import { PROMPTS, QUIET_DEMO_ARGS } from './demo.ts';
import { getJson, json, post } from './http.ts';
import { LoraxServer } from './lorax-process.ts';

const ADAPTER = ['--adapter-id', 'pirate'];

/** Natural logarithms of the probabilities of every prompt's tokens, as a server sees them. */
async function logprobs(url: string, adapterId?: string): Promise<number[]> {
  const parameters = { max_new_tokens: 1, details: true, decoder_input_details: true, adapter_id: adapterId };
  const answers = await Promise.all(PROMPTS.map((inputs) => post(`${url}/generate`, { inputs, parameters })));
  return answers.flatMap((answer) => {
    const { prefill } = json(answer)['details'] as { prefill: { logprob: number | null }[] };
    return prefill.flatMap(({ logprob }) => logprob ?? []);
  });
}

function largestDifference(some: readonly number[], others: readonly number[]): number {
  assert.equal(some.length, others.length);
  return Math.max(...some.map((value, i) => Math.abs(value - others[i]!)));
}

async function serving<T>(args: readonly string[], use: (url: string) => Promise<T>): Promise<T> {
  const server = await LoraxServer.start([...QUIET_DEMO_ARGS, ...args]);
  try {
    return await use(server.url);
  } finally {
    assert.equal((await server.stop()).code, 0);
  }
}

// The base's weights have 8 bits of mantissa in bfloat16, and are rounded again once the adapter is in them.
for (const [dtype, tolerance] of [
  ['float32', 1e-4],
  ['bfloat16', 5e-2],
] as const) {
  test(`an adapter merged into the demo's base predicts as it does beside it, in ${dtype}`, async () => {
    const args = [...ADAPTER, '--dtype', dtype];
    const [beside, base] = await serving(args, async (url) => [
      await logprobs(url),
      await logprobs(url, '__base_model__'),
    ]);
    await serving([...args, '--merge-adapter-weights'], async (url) => {
      const { merged_adapter: merged } = await getJson(`${url}/info`);
      assert.equal((merged as { id: string }).id, 'pirate');
      const found = largestDifference(await logprobs(url), beside);
      assert.ok(found < tolerance, `${found} is not below ${tolerance}`);
      assert.ok(largestDifference(beside, base) > 10 * tolerance, 'the adapter has an effect');
    });
  });
}
