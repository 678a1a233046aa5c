/**
 * The pre-norm decoder that Llama, Mistral and Qwen share: embed, layers of attention and gated MLP, norm, output layer.
 * What differs between families is in its config; each family's file says how its `config.json` is read.
 */

import type { EmbeddingTable, Forward, Graph, Projection, RowGraph, Value, Weight } from '../backend/backend.ts';
import { Attention, type AttentionConfig } from '../layers/attention.ts';
import { GatedMlp, type GatedMlpConfig } from '../layers/gated-mlp.ts';
import type { WeightLoader } from '../layers/weight-loader.ts';

export interface DecoderConfig extends AttentionConfig, GatedMlpConfig {
  readonly vocabSize: number;
  readonly layerCount: number;
  /** The output layer shares the token table. */
  readonly tiedEmbeddings: boolean;
  /** Attention window of each layer; undefined sees all. */
  readonly windows: readonly (number | undefined)[];
}

export class Decoder implements Forward {
  readonly config: DecoderConfig;
  readonly #embedding: EmbeddingTable;
  readonly #layers: readonly DecoderLayer[];
  readonly #norm: Weight;
  readonly #output: Projection;

  private constructor(
    config: DecoderConfig,
    embedding: EmbeddingTable,
    layers: readonly DecoderLayer[],
    norm: Weight,
    output: Projection,
  ) {
    this.config = config;
    this.#embedding = embedding;
    this.#layers = layers;
    this.#norm = norm;
    this.#output = output;
  }

  static async load(loader: WeightLoader, config: DecoderConfig): Promise<Decoder> {
    const { vocabSize, hiddenSize } = config;
    const embedding = await loader.embedding('model.embed_tokens', vocabSize, hiddenSize);
    const layers: DecoderLayer[] = [];
    for (let layer = 0; layer < config.layerCount; layer++) layers.push(await DecoderLayer.load(loader, layer, config));
    const norm = await loader.vector('model.norm.weight', hiddenSize);
    const output = config.tiedEmbeddings
      ? await loader.tied('lm_head', embedding)
      : await loader.linear('lm_head', hiddenSize, vocabSize, false, 'gathered');
    return new Decoder(config, embedding, layers, norm, output);
  }

  /** Of the step's output rows, `[outputs, hidden]`. */
  hidden(graph: Graph): Value {
    let x = graph.embed(this.#embedding);
    for (const layer of this.#layers) x = layer.forward(graph, x);
    return graph.rmsNorm(graph.outputRows(x), this.#norm, this.config.normEpsilon);
  }

  /** `[rows, vocab]`. */
  logits(graph: RowGraph, hidden: Value): Value {
    return graph.linear(hidden, [this.#output])[0]!;
  }
}

class DecoderLayer {
  readonly #inputNorm: Weight;
  readonly #attention: Attention;
  readonly #mlpNorm: Weight;
  readonly #mlp: GatedMlp;
  readonly #epsilon: number;

  private constructor(inputNorm: Weight, attention: Attention, mlpNorm: Weight, mlp: GatedMlp, epsilon: number) {
    this.#inputNorm = inputNorm;
    this.#attention = attention;
    this.#mlpNorm = mlpNorm;
    this.#mlp = mlp;
    this.#epsilon = epsilon;
  }

  static async load(loader: WeightLoader, layer: number, config: DecoderConfig): Promise<DecoderLayer> {
    const path = `model.layers.${layer}`;
    return new DecoderLayer(
      await loader.vector(`${path}.input_layernorm.weight`, config.hiddenSize),
      await Attention.load(loader, `${path}.self_attn`, layer, config.windows[layer], config),
      await loader.vector(`${path}.post_attention_layernorm.weight`, config.hiddenSize),
      await GatedMlp.load(loader, `${path}.mlp`, config),
      config.normEpsilon,
    );
  }

  forward(graph: Graph, x: Value): Value {
    const attended = graph.add(x, this.#attention.forward(graph, graph.rmsNorm(x, this.#inputNorm, this.#epsilon)));
    return graph.add(attended, this.#mlp.forward(graph, graph.rmsNorm(attended, this.#mlpNorm, this.#epsilon)));
  }
}
