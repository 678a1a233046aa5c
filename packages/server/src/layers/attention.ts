/** Self-attention with rotary positions: Hugging Face's `self_attn` module, with or without norms on each head. */

import type { AttentionShape, Graph, Projection, Rotary, Value, Weight } from '../backend/backend.ts';
import type { WeightLoader } from './weight-loader.ts';

export interface AttentionConfig {
  readonly hiddenSize: number;
  readonly headCount: number;
  readonly kvHeadCount: number;
  readonly headDim: number;
  /** Biases on q, k and v. */
  readonly qkvBias: boolean;
  /** Bias on the output projection. */
  readonly outputBias: boolean;
  /** RMS norms on each head of q and k, before the rotation. */
  readonly headNorms: boolean;
  readonly normEpsilon: number;
  readonly rotary: Rotary;
}

export class Attention {
  readonly #inputs: readonly Projection[];
  readonly #output: Projection;
  readonly #norms: { readonly q: Weight; readonly k: Weight } | undefined;
  readonly #config: AttentionConfig;
  readonly #shape: AttentionShape;

  private constructor(
    inputs: readonly Projection[],
    output: Projection,
    norms: { readonly q: Weight; readonly k: Weight } | undefined,
    config: AttentionConfig,
    shape: AttentionShape,
  ) {
    this.#inputs = inputs;
    this.#output = output;
    this.#norms = norms;
    this.#config = config;
    this.#shape = shape;
  }

  static async load(
    loader: WeightLoader,
    path: string,
    layer: number,
    window: number | undefined,
    config: AttentionConfig,
  ): Promise<Attention> {
    const { hiddenSize, headCount, kvHeadCount, headDim, qkvBias } = config;
    const inputs = [
      await loader.linear(`${path}.q_proj`, hiddenSize, headCount * headDim, qkvBias, 'outputs'),
      await loader.linear(`${path}.k_proj`, hiddenSize, kvHeadCount * headDim, qkvBias, 'outputs'),
      await loader.linear(`${path}.v_proj`, hiddenSize, kvHeadCount * headDim, qkvBias, 'outputs'),
    ];
    const output = await loader.linear(`${path}.o_proj`, headCount * headDim, hiddenSize, config.outputBias, 'inputs');
    const norms = config.headNorms
      ? {
          q: await loader.vector(`${path}.q_norm.weight`, headDim),
          k: await loader.vector(`${path}.k_norm.weight`, headDim),
        }
      : undefined;
    const shape = { layer, headCount, kvHeadCount, headDim, scale: headDim ** -0.5, window };
    return new Attention(inputs, output, norms, config, shape);
  }

  /** `[rows, hidden]` to `[rows, hidden]`. */
  forward(graph: Graph, x: Value): Value {
    const [q, k, v] = graph.linear(x, this.#inputs) as [Value, Value, Value];
    const rotate = (value: Value, norm: Weight | undefined): Value => {
      const normed = norm ? graph.rmsNorm(value, norm, this.#config.normEpsilon) : value;
      return graph.rotary(normed, this.#config.rotary);
    };
    const seen = graph.attention(rotate(q, this.#norms?.q), rotate(k, this.#norms?.k), v, this.#shape);
    return graph.linear(seen, [this.#output])[0]!;
  }
}
