/**
 * The library's public face: a server or an engine in one call, and the adapter types under the names that LoRAX and PEFT
 * gave them.
 */

export { LoraConfig } from './adapters/lora/lora-config.ts';
export { LoraWeights } from './adapters/lora/lora-weights.ts';
export type {
  AdaptableModel,
  LoraModule,
  MapOptions,
  ModuleReplacement,
  TrainedBias,
} from './adapters/lora/lora-weights.ts';
export { MedusaConfig } from './adapters/medusa/medusa-config.ts';
export { MedusaLoraConfig } from './adapters/medusa/medusa-lora-config.ts';
export { MedusaWeights } from './adapters/medusa/medusa-weights.ts';
export type { BatchType } from './adapters/adapter-config.ts';
export { BatchMedusaWeights } from './engine/drafting/batch-medusa-weights.ts';
export { MedusaHead } from './layers/medusa/medusa-head.ts';
export { makeMedusaModel } from './layers/medusa/medusa-model.ts';
export type { MedusaModel, MedusaShape } from './layers/medusa/medusa-model.ts';
export { MedusaV1 } from './layers/medusa/medusa-v1.ts';
export { MedusaV2 } from './layers/medusa/medusa-v2.ts';
export { ResBlock } from './layers/medusa/res-block.ts';
export type { LoadReport } from './adapters/load-report.ts';
export type { AdapterSite } from './adapters/site.ts';
export { ERRORS, LoraxError } from './base/errors.ts';
export type { ErrorCode, ErrorSpec } from './base/errors.ts';
export type { SamplingParams } from './engine/sampling/params.ts';
export type {
  AdapterChoice,
  AdapterReference,
  AdapterSource,
  MergedReference,
  MergeRecipe,
} from './base/adapter-reference.ts';
export type {
  GeneratedToken,
  Generation,
  GenerationEvent,
  GenerationRequest,
  GenerationResult,
  Generator,
} from './scheduler/request.ts';
export { loadEngine, startServer } from './server.ts';
export { openAdapterTensors, openModelTensors } from './weights/tensor-folder.ts';
export type { Dtype, TensorFile, TensorView } from './weights/tensor-view.ts';
