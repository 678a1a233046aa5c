/** An engine that nobody sends requests to, as the base of head training. Knows nothing about training itself. */

import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { AdapterLease } from '../adapters/adapter-lease.ts';
import { assert, present } from '../base/assert.ts';
import type { Projection } from '../backend/backend.ts';
import { openHeadTrainer } from '../backend/ggml/head-trainer.ts';
import { adapterFiles } from '../sources/repo-files.ts';
import type { TrainingAdapter, TrainingBase } from '../training/base.ts';
import { StepHiddenStates } from '../training/step-hidden-states.ts';
import { defaultAdapter } from './adapters.ts';
import { openEngine, type Engine, type EngineParts } from './engine.ts';

const OUTPUT_LAYER = 'lm_head';

export async function openTrainingBase(given: EngineParts): Promise<TrainingBase> {
  // Batches of hundreds of rows keep every core busy, however small the model.
  const threads = given.options.threads ?? given.options.cores.value;
  const parts = { ...given, options: { ...given.options, threads } };
  const engine = await openEngine(parts);
  let lease: AdapterLease | undefined;
  try {
    const reference = defaultAdapter(parts.options);
    lease = reference && (await engine.adapters.acquire(reference, parts.signal));
    const adapter = lease && (await describeAdapter(engine, lease, parts));
    return assemble(engine, lease, adapter, parts);
  } catch (error) {
    lease?.release();
    await engine.dispose();
    throw error;
  }
}

function assemble(
  engine: Engine,
  lease: AdapterLease | undefined,
  adapter: TrainingAdapter | undefined,
  { options }: EngineParts,
): TrainingBase {
  const { backend, model, kv, limits } = engine;
  const { hiddenSize } = model.description.decoder;
  const outputLayer = present(model.places.get(OUTPUT_LAYER), OUTPUT_LAYER) as Projection;
  // Gradients bear the rounding that answers would not, and without it the output layer costs half.
  const device = { path: options.ggmlPath, threads: present(options.threads, 'threads'), precision: 'medium' } as const;
  const adapters = lease?.slots ?? [];
  return {
    modelId: model.id,
    dtype: model.dtype,
    tokenizer: lease?.tokenizer ?? engine.tokenizer,
    hidden: new StepHiddenStates({ backend, forward: model.decoder, kv: kv.store, adapters, hiddenSize }),
    maxPositions: limits.maxTotalTokens,
    adapter,
    openTrainer: (heads) => openHeadTrainer(device, { ...heads, outputLayer }),
    dispose: async () => {
      lease?.release();
      await engine.dispose();
    },
  };
}

async function describeAdapter(
  { adapters }: Engine,
  { generation }: AdapterLease,
  { options, sources, signal }: EngineParts,
): Promise<TrainingAdapter> {
  const { id, source } = present(defaultAdapter(options), '--adapter-id');
  const location = await sources[source].locate(id, { signal });
  const { folder } = await location.fetch({ signal });
  const names = adapterFiles(await readdir(folder));
  const resident = adapters.residents.find((adapter) => adapter.generation === generation);
  const modules = resident?.report?.modules ?? [];
  assert(!options.mergeAdapterWeights, 'the adapter is beside the base');
  return {
    ...{ id, generation },
    files: names.map((name) => join(folder, name)),
    changesOutput: modules.some(({ path }) => path === OUTPUT_LAYER),
  };
}
