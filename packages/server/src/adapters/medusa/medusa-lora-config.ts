/** Draft heads and LoRA in one folder: both apply to the same request. Knows neither's tensors. */

import { openLoraAndHeadTensors } from '../../weights/tensor-folder.ts';
import { subsetOf } from '../../weights/tensor-subset.ts';
import type { TensorFile } from '../../weights/tensor-view.ts';
import type { AdapterConfig, AdapterTarget, BatchType, MappedAdapter } from '../adapter-config.ts';
import type { BaseCheck, NamedBase } from '../base-check.ts';
import { joinReports } from '../load-report.ts';
import type { LoraConfig } from '../lora/lora-config.ts';
import type { MedusaConfig } from './medusa-config.ts';
import { isMedusaTensor } from './medusa-weights.ts';

export class MedusaLoraConfig implements AdapterConfig {
  readonly lora: LoraConfig;
  readonly medusa: MedusaConfig;

  constructor(lora: LoraConfig, medusa: MedusaConfig) {
    this.lora = lora;
    this.medusa = medusa;
  }

  get adapterId(): string {
    return this.lora.adapterId;
  }

  /** As the LoRA configuration names it, which says more. */
  get base(): NamedBase {
    return this.lora.base;
  }

  getBatchTypes(): readonly BatchType[] {
    return ['lora', 'medusa'];
  }

  openTensors(folder: string): TensorFile {
    return openLoraAndHeadTensors(folder);
  }

  mapAdapter(tensors: TensorFile, target: AdapterTarget, baseModel: BaseCheck): MappedAdapter {
    const withoutHeads = subsetOf(tensors, (name) => !isMedusaTensor(name));
    const lora = this.lora.mapAdapter(withoutHeads, target, baseModel);
    const heads = this.medusa.mapAdapter(subsetOf(tensors, isMedusaTensor), target, baseModel);
    return {
      batchTypes: this.getBatchTypes(),
      tensors: { ...lora.tensors, weights: heads.tensors.weights },
      heads: heads.heads,
      report: joinReports(lora.report, heads.report),
    };
  }
}
