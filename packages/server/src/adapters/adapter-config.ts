/**
 * What every type of adapter's configuration can do: say what it was trained for, open its tensors and map them to a
 * model. A new type is one more implementation and its line in `recognise.ts`.
 */

import type { AdapterTensors } from '../backend/adapters.ts';
import type { MedusaShape } from '../layers/medusa/medusa-model.ts';
import type { TensorFile } from '../weights/tensor-view.ts';
import type { AdapterPlaces } from './adapter-tensors.ts';
import type { BaseCheck, NamedBase } from './base-check.ts';
import type { LoadReport } from './load-report.ts';
import type { AdaptableModel } from './lora/lora-weights.ts';

/** What an adapter brings to a batch, by LoRAX's names. */
export type BatchType = 'lora' | 'medusa';

/** The served model as every type of adapter needs it. */
export interface AdapterTarget extends AdaptableModel {
  readonly places: AdapterPlaces;
  readonly hiddenSize: number;
  readonly vocabSize: number;
}

/** An adapter's tensors where they belong; views of the file that was mapped. */
export interface MappedAdapter {
  readonly batchTypes: readonly BatchType[];
  readonly tensors: AdapterTensors;
  /** Draft heads, whose weights are among the tensors' own. */
  readonly heads: MedusaShape | undefined;
  readonly report: LoadReport;
}

export interface AdapterConfig {
  readonly adapterId: string;
  readonly base: NamedBase;
  getBatchTypes(): readonly BatchType[];
  /** Throws FILE_INVALID. The caller disposes of what it gets. */
  openTensors(folder: string): TensorFile;
  /** Throws ADAPTER_INVALID with the load report where the adapter does not fit the model. */
  mapAdapter(tensors: TensorFile, target: AdapterTarget, baseModel: BaseCheck): MappedAdapter;
}
