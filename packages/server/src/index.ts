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
export type { LoadReport } from './adapters/load-report.ts';
export type { AdapterSite } from './adapters/site.ts';
export { ERRORS, LoraxError } from './base/errors.ts';
export type { ErrorCode, ErrorSpec } from './base/errors.ts';
export type { SamplingParams } from './engine/sampling/params.ts';
export type { AdapterReference, AdapterSource } from './base/adapter-reference.ts';
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
