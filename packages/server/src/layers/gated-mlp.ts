/** `down(silu(gate(x)) * up(x))`: Hugging Face's `mlp` module of the Llama kind. */

import type { Graph, Projection, Value } from '../backend/backend.ts';
import type { WeightLoader } from './weight-loader.ts';

export interface GatedMlpConfig {
  readonly hiddenSize: number;
  readonly intermediateSize: number;
  readonly mlpBias: boolean;
}

export class GatedMlp {
  readonly #inputs: readonly Projection[];
  readonly #down: Projection;

  private constructor(inputs: readonly Projection[], down: Projection) {
    this.#inputs = inputs;
    this.#down = down;
  }

  static async load(loader: WeightLoader, path: string, config: GatedMlpConfig): Promise<GatedMlp> {
    const { hiddenSize, intermediateSize, mlpBias } = config;
    const gate = await loader.linear(`${path}.gate_proj`, hiddenSize, intermediateSize, mlpBias, 'outputs');
    const up = await loader.linear(`${path}.up_proj`, hiddenSize, intermediateSize, mlpBias, 'outputs');
    const down = await loader.linear(`${path}.down_proj`, intermediateSize, hiddenSize, mlpBias, 'inputs');
    return new GatedMlp([gate, up], down);
  }

  /** `[rows, hidden]` to `[rows, hidden]`. */
  forward(graph: Graph, x: Value): Value {
    const [gate, up] = graph.linear(x, this.#inputs) as [Value, Value];
    return graph.linear(graph.gatedSilu(gate, up), [this.#down])[0]!;
  }
}
