/** A decoder of one layer over weights that are addresses only, for tests of what a device is given. */

import type { EmbeddingTable, Forward, Projection } from '../../backend.ts';
import type { KvShape } from '../../kv.ts';
import { DTYPE_BYTES, elementCount, type Dtype } from '../../../weights/tensor-view.ts';
import type { CudaWeight } from '../weights.ts';

const HIDDEN = 64;
const HEADS = 4;
const KV_HEADS = 2;
const HEAD_DIM = HIDDEN / HEADS;
const INNER = 128;
const VOCAB = 96;
const EPSILON = 1e-5;

/** Above every address that a FakeCuda gives. */
let end = 1n << 48n;

/** One after the other, as a WeightSpace lays them. */
export function fakeWeight(shape: readonly number[], dtype: Dtype = 'bfloat16'): CudaWeight {
  const byteLength = elementCount(shape) * DTYPE_BYTES[dtype];
  const address = end;
  end += BigInt(byteLength);
  return { name: 'W', shape, dtype, address, byteLength, dispose: () => undefined };
}

export function fakeProjection(path: string, inFeatures: number, outFeatures: number, dtype?: Dtype): Projection {
  const weight = fakeWeight([outFeatures, inFeatures], dtype);
  return { kind: 'linear', path, weight, bias: undefined, inFeatures, outFeatures };
}

const attention = [
  fakeProjection('q', HIDDEN, HIDDEN),
  fakeProjection('k', HIDDEN, KV_HEADS * HEAD_DIM),
  fakeProjection('v', HIDDEN, KV_HEADS * HEAD_DIM),
];
const gates = [fakeProjection('gate', HIDDEN, INNER), fakeProjection('up', HIDDEN, INNER)];
const output = fakeProjection('o', HIDDEN, HIDDEN);
const down = fakeProjection('down', INNER, HIDDEN);
const head = fakeProjection('head', HIDDEN, VOCAB);
const norm = fakeWeight([HIDDEN], 'float32');
const rotary = { headDim: HEAD_DIM, inverseFrequencies: new Float32Array(HEAD_DIM / 2), attentionFactor: 1 };
const shape = { layer: 0, headCount: HEADS, kvHeadCount: KV_HEADS, headDim: HEAD_DIM, scale: 0.25, window: undefined };
const table: EmbeddingTable = {
  ...{ kind: 'embedding', path: 'tokens', weight: fakeWeight([VOCAB, HIDDEN]) },
  ...{ vocabSize: VOCAB, hiddenSize: HIDDEN },
};

/** Paths are those of adapter-rows.arbitrary.ts. */
export function makeSmallDecoder(): Forward {
  return {
    hidden(graph) {
      const x = graph.embed(table);
      const [q, k, v] = graph.linear(graph.rmsNorm(x, norm, EPSILON), attention);
      const seen = graph.attention(graph.rotary(q!, rotary), graph.rotary(k!, rotary), v!, shape);
      const y = graph.add(x, graph.linear(seen, [output])[0]!);
      const [gate, up] = graph.linear(graph.rmsNorm(y, norm, EPSILON), gates);
      const z = graph.add(y, graph.linear(graph.gatedSilu(gate!, up!), [down])[0]!);
      return graph.rmsNorm(graph.outputRows(z), norm, EPSILON);
    },
    logits: (graph, hidden) => graph.linear(hidden, [head])[0]!,
  };
}

/** Of the store for it. */
export const SMALL_KV: KvShape = {
  ...{ layerCount: 1, cellCount: 100_000, width: KV_HEADS * HEAD_DIM },
  types: { key: 'float16', value: 'float16' },
};
