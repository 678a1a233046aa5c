/** An engine that nobody sends requests to, as the base of head training. Knows nothing about training itself. */

import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { AdapterLease } from '../adapters/store/adapter-lease.ts';
import type { AdapterReference } from '../base/adapter-reference.ts';
import { present } from '../base/assert.ts';
import { LoraxError } from '../base/errors.ts';
import type { Projection } from '../backend/backend.ts';
import { openHeadTrainer } from '../backend/ggml/head-trainer.ts';
import { adapterFiles } from '../sources/repo-files.ts';
import type { ResolvedFolder } from '../sources/source.ts';
import type { TrainingAdapter, TrainingBase } from '../training/base.ts';
import { StepHiddenStates } from '../training/step-hidden-states.ts';
import { defaultAdapter } from './adapters.ts';
import { openEngine, type Engine, type EngineParts } from './engine.ts';

const OUTPUT_LAYER = 'lm_head';

export async function openTrainingBase(given: EngineParts): Promise<TrainingBase> {
  // What is learnt bears the rounding that answers would not; without it the base and its output layer cost half. The
  // trainer reads the output layer where the base holds it, which has to be ggml's memory.
  const onCpu = { matmulPrecision: 'medium', device: 'cpu', numShard: 1 } as const;
  const parts: EngineParts = { ...given, options: { ...given.options, ...onCpu } };
  const engine = await openEngine(parts);
  const held: { release(): void }[] = [];
  const dispose = async (): Promise<void> => {
    for (const one of held.splice(0)) one.release();
    await engine.dispose();
  };
  try {
    const reference = defaultAdapter(parts.options);
    const lease = reference && (await engine.adapters.acquire(reference, parts.signal));
    if (lease) held.push(lease);
    const folder = reference && (await fetchAdapter(reference, parts));
    if (folder) held.push(folder);
    const adapter = reference && lease && folder && (await describeAdapter(engine, reference.id, lease, folder));
    return { ...assemble(engine, lease, parts), adapter, dispose };
  } catch (error) {
    await dispose();
    throw error;
  }
}

function assemble(
  { backend, model, kv, limits, tokenizer }: Engine,
  lease: AdapterLease | undefined,
  { options }: EngineParts,
): Omit<TrainingBase, 'adapter' | 'dispose'> {
  const { hiddenSize } = model.description.decoder;
  const outputLayer = present(model.places.get(OUTPUT_LAYER), OUTPUT_LAYER) as Projection;
  // Batches of hundreds of rows keep every core busy, however small the model.
  const threads = options.threads ?? options.cores.value;
  const device = { path: options.ggmlPath, threads, precision: options.matmulPrecision };
  const adapters = lease?.slots ?? [];
  return {
    modelId: model.id,
    dtype: model.dtype,
    tokenizer: lease?.tokenizer ?? tokenizer,
    hidden: new StepHiddenStates({ backend, forward: model.decoder, kv: kv.store, adapters, hiddenSize }),
    maxPositions: limits.maxTotalTokens,
    openTrainer: (heads) => openHeadTrainer(device, { ...heads, outputLayer }),
  };
}

async function fetchAdapter(
  { id, source }: AdapterReference,
  { sources, signal }: EngineParts,
): Promise<ResolvedFolder> {
  const location = await sources[source].locate(id, { signal });
  return location.fetch({ signal });
}

async function describeAdapter(
  { adapters }: Engine,
  id: string,
  { generation, batchTypes }: AdapterLease,
  { folder }: ResolvedFolder,
): Promise<TrainingAdapter> {
  if (batchTypes.includes('medusa')) {
    throw new LoraxError('OPTION_INVALID', { option: '--adapter-id', reason: `${id} has heads already` });
  }
  const names = adapterFiles(await readdir(folder));
  const resident = adapters.residents.find((adapter) => adapter.generation === generation);
  const modules = resident?.report?.modules ?? [];
  return {
    ...{ id, generation },
    files: names.map((name) => join(folder, name)),
    changesOutput: modules.some(({ path }) => path === OUTPUT_LAYER),
  };
}
