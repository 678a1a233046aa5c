import { GgmlBackend } from '../backend/ggml/ggml-backend.ts';
import { BaseModel } from '../engine/base-model.ts';
import { readVectors, listFolders } from './vectors.ts';
import { join } from 'node:path';
import { existsSync } from 'node:fs';
import { LoraConfig } from '../adapters/lora-config.ts';
import { recogniseAdapter } from '../adapters/recognise.ts';
import { openAdapterTensors } from '../weights/tensor-folder.ts';
import { adapterSites, adapterTensors } from '../adapters/adapter-tensors.ts';
const root = process.argv[2]!;
const dtype = (process.argv[3] ?? 'float32') as 'float32';
for (const arch of ['llama', 'llama3_rope', 'llama_linear_rope_bias', 'mistral', 'qwen2', 'qwen3']) {
  const backend = new GgmlBackend({ path: undefined, threads: 2, precision: (process.argv[5] ?? 'high') as 'high' });
  const model = await BaseModel.load(backend, {
    modelId: arch,
    folder: join(root, 'models', arch),
    dtype,
    onProgress: () => {},
  });
  const d = model.description.decoder;
  const kv = backend.createKvStore({
    layerCount: d.layerCount,
    cellCount: 512,
    width: d.kvHeadCount * d.headDim,
    dtype: (process.argv[4] ?? (dtype === 'float32' ? 'float32' : 'float16')) as 'float32',
  });
  for (const name of [undefined, ...listFolders(join(root, 'adapters', arch))]) {
    if (name?.startsWith('medusa')) continue;
    const folder = name ? join(root, 'adapters', arch, name) : join(root, 'models', arch);
    try {
      let slot;
      if (name) {
        const kind = await recogniseAdapter(folder, name);
        const file = openAdapterTensors(folder);
        const sites = adapterSites(model.places);
        const w = LoraConfig.parse(kind.configBytes, name).mapWeightsForModel(file, {
          architecture: model.description.architecture,
          layerCount: d.layerCount,
          sites,
          hasModule: () => false,
        });
        slot = await backend.loadAdapter(adapterTensors(w, model.places));
        file.dispose();
      }
      let worst = 0;
      for (const v of readVectors(folder)) {
        const out = await backend.runStep(
          (g) => model.decoder.forward(g),
          kv,
          [{ tokens: v.prompt, position: 0, firstCell: 7, adapter: slot, outputCount: v.prompt.length }],
          { reduce: true },
        );
        const V = d.vocabSize;
        let max = 0,
          diff = 0;
        for (let i = 0; i < v.prompt.length; i++) {
          const l = out.logits(0, i);
          for (let j = 0; j < V; j++) {
            max = Math.max(max, Math.abs(v.logits[i * V + j]!));
            diff = Math.max(diff, Math.abs(v.logits[i * V + j]! - l[j]!));
          }
        }
        worst = Math.max(worst, diff / max);
      }
      console.log(arch, name ?? 'base', worst.toExponential(2));
      if (slot) backend.unloadAdapter(slot);
    } catch (e) {
      console.log(arch, name, 'FAILED', e);
    }
  }
  kv.dispose();
  backend.dispose();
  model.dispose();
}
void existsSync;
