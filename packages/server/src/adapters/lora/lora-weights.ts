/**
 * A LoRA adapter's tensors, each at its place of one model, with rank and scale. Every tensor of the file is accounted
 * for in the report. Reads no values: finiteness is checked where they are copied.
 */

import type { TensorFile, TensorView } from '../../weights/tensor-view.ts';
import type { BaseCheck } from '../base-check.ts';
import { ReportBuilder, type LoadReport } from '../load-report.ts';
import type { LoraConfig } from './lora-config.ts';
import { LoraSiteMapper } from './lora-site-mapper.ts';
import { sortBySite, type SiteTensors } from './lora-site-tensors.ts';
import type { AdapterSite } from '../site.ts';

/** What adapter loading asks of a model. */
export interface AdaptableModel {
  /** Class name in transformers, for instance `LlamaForCausalLM`. */
  readonly architecture: string;
  readonly layerCount: number;
  readonly sites: readonly AdapterSite[];
  /** Whether the model has a module of this path, adaptable or not. */
  hasModule(path: string): boolean;
}

/** `y += scale * (B (A x) + bias)` at one site; of an embedding, A's column of the token stands for `A x`. */
export interface LoraModule {
  readonly site: AdapterSite;
  readonly rank: number;
  readonly scale: number;
  /** [rank, in] */
  readonly a: TensorView;
  /** [out, rank] */
  readonly b: TensorView;
  /** DoRA: [out], the norms that the rows of base + scale * B A are brought to. */
  readonly magnitude?: TensorView;
  /** [out] */
  readonly bias?: TensorView;
}

/** The adapter's own copy of a base module's weight; a LoraModule at the same site works on this weight. */
export interface ModuleReplacement {
  readonly site: AdapterSite;
  /** [out, in]; of an embedding [vocabulary, hidden]. */
  readonly weight: TensorView;
  /** [out] */
  readonly bias?: TensorView;
}

/** A base module's bias as it was after training: it replaces the base's, it is not added. */
export interface TrainedBias {
  readonly site: AdapterSite;
  /** [out] */
  readonly bias: TensorView;
}

export interface MapOptions {
  /** false: unused and missing tensors are only told in the report, incomplete modules left out. Default true. */
  readonly strict?: boolean;
  readonly baseModel?: BaseCheck;
}

const NOT_COMPARED: BaseCheck = { verdict: 'unverified', reason: 'the base models were not compared' };

export class LoraWeights {
  readonly config: LoraConfig;
  readonly modules: readonly LoraModule[];
  readonly replacements: readonly ModuleReplacement[];
  readonly trainedBiases: readonly TrainedBias[];
  readonly report: LoadReport;

  private constructor(config: LoraConfig, mapper: LoraSiteMapper, report: LoadReport) {
    this.config = config;
    this.modules = mapper.modules;
    this.replacements = mapper.replacements;
    this.trainedBiases = mapper.trainedBiases;
    this.report = report;
  }

  /** Throws ADAPTER_INVALID with the load report as details; the views are of `tensors` and live as long as it. */
  static map(config: LoraConfig, tensors: TensorFile, model: AdaptableModel, options: MapOptions = {}): LoraWeights {
    const { adapterId, settings } = config;
    const { strict = true, baseModel = NOT_COMPARED } = options;
    const report = new ReportBuilder({ adapterId, strict, baseModel, ignoredConfigFields: settings.ignoredFields });
    const bySite = sortBySite(tensors, report);
    const mapper = new LoraSiteMapper(settings, config.targeting(model.sites), report);
    for (const site of model.sites) mapper.map(site, bySite.get(site.path) ?? new Map());
    tellStrangers(bySite, model, report);
    return new LoraWeights(config, mapper, report.verdict());
  }
}

function tellStrangers(bySite: ReadonlyMap<string, SiteTensors>, model: AdaptableModel, report: ReportBuilder): void {
  const paths = new Set(model.sites.map(({ path }) => path));
  for (const [path, tensors] of bySite) {
    if (paths.has(path)) continue;
    const reason = model.hasModule(path)
      ? `adapters cannot enter this module of a ${model.architecture}`
      : `a ${model.architecture} with ${model.layerCount} layers has no such module`;
    for (const { name } of tensors.values()) report.unused(name, reason);
  }
}
