/**
 * The forward pass of a tiny model written down plainly in double precision, token by token and number by number, with the
 * formulas of transformers' `modeling_llama.py`. Shares no code with the server.
 */

import type { TinyConfig, TinyTensor, TinyWeights } from './tiny-model.ts';

type Vector = number[];

/** Logits of every position, `[tokens][vocab]`. `window` limits how many last tokens each one sees, itself included. */
export function referenceLogits(
  config: TinyConfig,
  weights: TinyWeights,
  tokens: readonly number[],
  window = Infinity,
): Vector[] {
  let rows = tokens.map((token) => row(tensor(weights, 'model.embed_tokens.weight'), token));
  for (let layer = 0; layer < config.num_hidden_layers; layer++) {
    const path = `model.layers.${layer}`;
    const normed = rows.map((x) => rmsNorm(config, weights, `${path}.input_layernorm.weight`, x));
    const attended = attention(config, weights, `${path}.self_attn`, normed, window);
    rows = rows.map((x, i) => add(x, attended[i]!));
    rows = rows.map((x) =>
      add(x, mlp(weights, `${path}.mlp`, rmsNorm(config, weights, `${path}.post_attention_layernorm.weight`, x))),
    );
  }
  const head = weights.has('lm_head.weight') ? 'lm_head' : 'model.embed_tokens';
  return rows.map((x) => linear(weights, head, rmsNorm(config, weights, 'model.norm.weight', x)));
}

function attention(
  config: TinyConfig,
  weights: TinyWeights,
  path: string,
  rows: readonly Vector[],
  window: number,
): Vector[] {
  const { num_attention_heads: headCount, num_key_value_heads: kvHeadCount } = config;
  const heads = (name: string, count: number): Vector[][] =>
    rows.map((x, position) => {
      const projected = chunk(linear(weights, `${path}.${name}_proj`, x), count);
      if (name === 'v') return projected;
      const norm = `${path}.${name}_norm.weight`;
      const normed = weights.has(norm) ? projected.map((head) => rmsNorm(config, weights, norm, head)) : projected;
      return normed.map((head) => rotate(config, head, position));
    });
  const [q, k, v] = [heads('q', headCount), heads('k', kvHeadCount), heads('v', kvHeadCount)];
  return rows.map((_, position) => {
    const first = Math.max(0, position - window + 1);
    const seen = q[position]!.flatMap((query, head) => {
      const kvHead = Math.floor((head * kvHeadCount) / headCount);
      const keys = k.slice(first, position + 1).map((of) => of[kvHead]!);
      const values = v.slice(first, position + 1).map((of) => of[kvHead]!);
      const shares = softmax(keys.map((key) => dot(query, key) / Math.sqrt(config.head_dim)));
      return query.map((__, i) => shares.reduce((sum, share, at) => sum + share * values[at]![i]!, 0));
    });
    return linear(weights, `${path}.o_proj`, seen);
  });
}

function mlp(weights: TinyWeights, path: string, x: Vector): Vector {
  const gate = linear(weights, `${path}.gate_proj`, x);
  const up = linear(weights, `${path}.up_proj`, x);
  const inner = gate.map((value, i) => (value / (1 + Math.exp(-value))) * up[i]!);
  return linear(weights, `${path}.down_proj`, inner);
}

/** Element i turns with element i + headDim / 2. */
function rotate({ rope_theta: theta }: TinyConfig, head: Vector, position: number): Vector {
  const half = head.length / 2;
  return head.map((value, i) => {
    const angle = position * theta ** (-(2 * (i % half)) / head.length);
    const other = i < half ? -head[i + half]! : head[i - half]!;
    return value * Math.cos(angle) + other * Math.sin(angle);
  });
}

function rmsNorm({ rms_norm_eps: epsilon }: TinyConfig, weights: TinyWeights, name: string, x: Vector): Vector {
  const rms = Math.sqrt(dot(x, x) / x.length + epsilon);
  const { values } = tensor(weights, name);
  return x.map((value, i) => (value / rms) * values[i]!);
}

function linear(weights: TinyWeights, path: string, x: Vector): Vector {
  const matrix = tensor(weights, `${path}.weight`);
  const bias = weights.get(`${path}.bias`);
  return Array.from({ length: matrix.shape[0]! }, (_, i) => dot(row(matrix, i), x) + (bias?.values[i] ?? 0));
}

function softmax(scores: readonly number[]): Vector {
  const peak = Math.max(...scores);
  const powers = scores.map((score) => Math.exp(score - peak));
  const sum = powers.reduce((total, power) => total + power, 0);
  return powers.map((power) => power / sum);
}

function chunk(values: Vector, count: number): Vector[] {
  const length = values.length / count;
  return Array.from({ length: count }, (_, i) => values.slice(i * length, (i + 1) * length));
}

function row({ shape, values }: TinyTensor, index: number): Vector {
  return Array.from(values.subarray(index * shape[1]!, (index + 1) * shape[1]!));
}

function dot(a: Vector, b: Vector): number {
  return a.reduce((sum, value, i) => sum + value * b[i]!, 0);
}

function add(a: Vector, b: Vector): Vector {
  return a.map((value, i) => value + b[i]!);
}

function tensor(weights: TinyWeights, name: string): TinyTensor {
  const found = weights.get(name);
  if (found === undefined) throw new RangeError(`the reference has no ${name}`);
  return found;
}
