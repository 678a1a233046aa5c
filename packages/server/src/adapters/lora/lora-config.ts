/** A LoRA adapter's configuration as PEFT saves it. Knows which modules of a model it means, not its tensors. */

import { openAdapterTensors } from '../../weights/tensor-folder.ts';
import type { TensorFile } from '../../weights/tensor-view.ts';
import type { AdapterConfig, AdapterTarget, BatchType, MappedAdapter } from '../adapter-config.ts';
import { adapterTensors } from '../adapter-tensors.ts';
import type { BaseCheck, NamedBase } from '../base-check.ts';
import { parseLoraSettings, type LoraSettings } from './lora-settings.ts';
import { LoraTargeting } from './lora-targeting.ts';
import { LoraWeights, type AdaptableModel, type MapOptions } from './lora-weights.ts';
import type { AdapterSite } from '../site.ts';

export class LoraConfig implements AdapterConfig {
  /** For messages and reports. */
  readonly adapterId: string;
  readonly settings: LoraSettings;

  constructor(adapterId: string, settings: LoraSettings) {
    this.adapterId = adapterId;
    this.settings = settings;
  }

  /** Reads the bytes of an adapter_config.json. Throws ADAPTER_INVALID naming the field. */
  static parse(bytes: Uint8Array, adapterId: string): LoraConfig {
    return new LoraConfig(adapterId, parseLoraSettings(bytes, adapterId));
  }

  /** Targets, ranks and scales for these places. Throws ADAPTER_INVALID for a pattern that cannot be used. */
  targeting(sites: readonly AdapterSite[]): LoraTargeting {
    return new LoraTargeting(this.adapterId, this.settings, sites);
  }

  /** LoRAX's name for the step from tensor names to modules of the model. */
  mapWeightsForModel(tensors: TensorFile, model: AdaptableModel, options: MapOptions = {}): LoraWeights {
    return LoraWeights.map(this, tensors, model, options);
  }

  get base(): NamedBase {
    return this.settings.base;
  }

  getBatchTypes(): readonly BatchType[] {
    return ['lora'];
  }

  openTensors(folder: string): TensorFile {
    return openAdapterTensors(folder);
  }

  mapAdapter(file: TensorFile, target: AdapterTarget, baseModel: BaseCheck): MappedAdapter {
    const weights = this.mapWeightsForModel(file, target, { baseModel });
    const batchTypes = this.getBatchTypes();
    return { batchTypes, tensors: adapterTensors(weights, target.places), heads: undefined, report: weights.report };
  }
}
