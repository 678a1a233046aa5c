/** From a mapped LoRA adapter to what a device takes: sites become the model's own projections. Reads no values. */

import { LoraxError } from '../base/errors.ts';
import type { AdapterTensors } from '../backend/adapters.ts';
import type { EmbeddingTable, Projection } from '../backend/backend.ts';
import { present } from '../base/assert.ts';
import type { LoraWeights } from './lora/lora-weights.ts';
import type { AdapterSite } from './site.ts';

export type AdapterPlaces = ReadonlyMap<string, Projection | EmbeddingTable>;

export function adapterTensors(weights: LoraWeights, places: AdapterPlaces): AdapterTensors {
  const at = (site: AdapterSite): Projection | EmbeddingTable => present(places.get(site.path), site.path);
  const lowRank = weights.modules.map(({ site, rank, scale, a, b, magnitude, bias }) => {
    if (site.kind === 'embedding' && (magnitude || bias)) throw unservedEmbedding(weights, site);
    return { at: at(site), rank, scale, a, b, magnitude, bias };
  });
  const replaced = weights.replacements.map(({ site, weight, bias }) => ({ at: at(site), weight, bias }));
  const biases = weights.trainedBiases.map(({ site, bias }) => ({ at: at(site), weight: undefined, bias }));
  return { lowRank, replacements: [...replaced, ...biases], weights: [] };
}

/** The places of a model as sites that adapters' names and targets are matched against. */
export function adapterSites(places: AdapterPlaces): AdapterSite[] {
  return [...places.values()].map((place) =>
    place.kind === 'linear'
      ? { path: place.path, kind: 'linear', inFeatures: place.inFeatures, outFeatures: place.outFeatures }
      : { path: place.path, kind: 'embedding', inFeatures: place.vocabSize, outFeatures: place.hiddenSize },
  );
}

function unservedEmbedding({ config, report }: LoraWeights, site: AdapterSite): LoraxError {
  const reason = `${site.path}: DoRA and LoRA biases on the embedding are not served`;
  return new LoraxError('ADAPTER_INVALID', { adapterId: config.adapterId, reason }, { details: report });
}
