/** How much memory a model will need before it is loaded, from its files' headers and its config. */

import { describeModel } from '../models/registry.ts';
import { openModelTensors } from '../weights/tensor-folder.ts';
import { DTYPE_BYTES, elementCount, type Dtype } from '../weights/tensor-view.ts';
import { deriveLimits, kvBytesPerToken, kvTypes, type GivenLimits } from './limits.ts';

/** Rank of the adapter that `adapterBytes` speaks of, on every linear layer of the decoder. */
const EXAMPLE_RANK = 16;

export interface MemoryEstimate {
  readonly modelId: string;
  readonly modelType: string;
  readonly parameters: number;
  readonly dtype: string;
  readonly weightBytes: number;
  readonly kvBytesPerToken: number;
  /** For one sequence of `maxTotalTokens`. */
  readonly kvBytes: number;
  /** One adapter of rank 16 on every linear layer. */
  readonly adapterBytes: number;
  readonly totalBytes: number;
  readonly maxTotalTokens: number;
}

export async function estimateModelMemory(
  modelId: string,
  folder: string,
  dtype: Dtype | undefined,
  options: GivenLimits & { readonly matmulPrecision: 'high' | 'medium' },
): Promise<MemoryEstimate> {
  const { config, decoder } = await describeModel(modelId, folder);
  const perToken = kvBytesPerToken(decoder, kvTypes(dtype, options.matmulPrecision));
  const { maxTotalTokens } = deriveLimits(options, config.max_position_embeddings, perToken, 0);
  const weights = measureWeights(folder, dtype);
  const kvBytes = perToken * maxTotalTokens;
  return {
    modelId,
    modelType: config.model_type,
    parameters: weights.parameters,
    dtype: dtype ?? weights.stored,
    weightBytes: weights.bytes,
    kvBytesPerToken: perToken,
    kvBytes,
    adapterBytes: EXAMPLE_RANK * weights.rankElements * 4,
    totalBytes: weights.bytes + kvBytes,
    maxTotalTokens,
  };
}

interface WeightMeasure {
  parameters: number;
  bytes: number;
  /** Elements of A and B together, per rank, over the linear layers of the decoder. */
  rankElements: number;
  stored: string;
}

function measureWeights(folder: string, dtype: Dtype | undefined): WeightMeasure {
  const file = openModelTensors(folder);
  try {
    const measure: WeightMeasure = { parameters: 0, bytes: 0, rankElements: 0, stored: 'float32' };
    for (const name of file.names) {
      const view = file.get(name)!;
      const count = elementCount(view.shape);
      measure.parameters += count;
      // Norms and biases are held in float32 whatever is asked for.
      measure.bytes += count * DTYPE_BYTES[view.shape.length === 1 ? 'float32' : (dtype ?? view.dtype)];
      if (view.shape.length !== 2) continue;
      measure.stored = view.dtype;
      if (name.includes('.layers.')) measure.rankElements += view.shape[0]! + view.shape[1]!;
    }
    return measure;
  } finally {
    file.dispose();
  }
}
