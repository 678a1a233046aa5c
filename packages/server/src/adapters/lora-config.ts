/** A LoRA adapter's configuration as PEFT saves it. Knows which modules of a model it means, not its tensors. */

import type { TensorFile } from '../weights/tensor-view.ts';
import { parseLoraSettings, type LoraSettings } from './lora-settings.ts';
import { LoraTargeting } from './lora-targeting.ts';
import { LoraWeights, type AdaptableModel, type MapOptions } from './lora-weights.ts';
import type { AdapterSite } from './site.ts';

export class LoraConfig {
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
}
