/** Decides for one place of the model after the other what an adapter's tensors do there. Knows no other places. */

import type { TensorView } from '../../weights/tensor-view.ts';
import type { ReportBuilder } from '../load-report.ts';
import type { LoraSettings } from './lora-settings.ts';
import type { SiteTensors } from './lora-site-tensors.ts';
import type { LoraTargeting } from './lora-targeting.ts';
import { loraTensorName, type LoraPart } from './lora-tensor-name.ts';
import type { LoraModule, ModuleReplacement, TrainedBias } from './lora-weights.ts';
import { shapeFault, type WantedShape } from './shape-fault.ts';
import type { AdapterSite } from '../site.ts';

const LOW_RANK_PARTS = ['a', 'b', 'embeddingA', 'embeddingB', 'magnitude', 'loraBias'] as const;

export class LoraSiteMapper {
  readonly modules: LoraModule[] = [];
  readonly replacements: ModuleReplacement[] = [];
  readonly trainedBiases: TrainedBias[] = [];
  readonly #settings: LoraSettings;
  readonly #targeting: LoraTargeting;
  readonly #report: ReportBuilder;

  constructor(settings: LoraSettings, targeting: LoraTargeting, report: ReportBuilder) {
    this.#settings = settings;
    this.#targeting = targeting;
    this.#report = report;
  }

  map(site: AdapterSite, tensors: SiteTensors): void {
    const module = this.#lowRank(site, tensors);
    const replacement = this.#replacement(site, tensors);
    const trainedBias = replacement === undefined ? this.#trainedBias(site, tensors) : undefined;
    if (module !== undefined) this.modules.push(module);
    if (replacement !== undefined) this.replacements.push(replacement);
    if (trainedBias !== undefined) this.trainedBiases.push(trainedBias);
    this.#tell(site, module, replacement, trainedBias);
  }

  #lowRank(site: AdapterSite, tensors: SiteTensors): LoraModule | undefined {
    const present = LOW_RANK_PARTS.filter((part) => tensors.has(part));
    if (!this.#isExpected(site, present.length > 0)) {
      this.#unused(tensors, present, 'the configuration does not target this module');
      return undefined;
    }
    const wanted = this.#wantedParts(site);
    this.#tellExtra(site, tensors, present, wanted);
    const absent = wanted.filter((part) => !tensors.has(part));
    if (absent.length === 0) return this.#checkedModule(site, tensors);
    for (const part of absent) this.#report.missing(loraTensorName(site.path, part), 'the configuration asks for it');
    const kept = wanted.filter((part) => tensors.has(part));
    this.#unused(tensors, kept, 'its module is incomplete');
    return undefined;
  }

  /** A file that names no targets is taken at its tensors' word. */
  #isExpected(site: AdapterSite, hasTensors: boolean): boolean {
    return this.#settings.targetModules === undefined ? hasTensors : this.#targeting.targets(site.path);
  }

  #wantedParts({ kind }: AdapterSite): LoraPart[] {
    const wanted: LoraPart[] = kind === 'linear' ? ['a', 'b'] : ['embeddingA', 'embeddingB'];
    if (this.#settings.dora) wanted.push('magnitude');
    // PEFT gives embeddings none.
    if (this.#settings.loraBias && kind === 'linear') wanted.push('loraBias');
    return wanted;
  }

  #tellExtra(site: AdapterSite, tensors: SiteTensors, present: readonly LoraPart[], wanted: readonly LoraPart[]): void {
    for (const part of present) {
      if (wanted.includes(part)) continue;
      if (part === 'magnitude') this.#unused(tensors, [part], 'use_dora is off in the configuration');
      else if (part === 'loraBias') this.#unused(tensors, [part], 'lora_bias is off in the configuration');
      else this.#unused(tensors, [part], `this module is ${site.kind === 'linear' ? 'a linear' : 'an embedding'}`);
    }
  }

  #checkedModule(site: AdapterSite, tensors: SiteTensors): LoraModule | undefined {
    const { kind, inFeatures, outFeatures } = site;
    const rank = this.#targeting.rankFor(site.path);
    const take = (part: LoraPart, wanted: WantedShape): TensorView | undefined =>
      this.#take(site, tensors, part, wanted);
    const a = take(kind === 'linear' ? 'a' : 'embeddingA', { shape: [rank, inFeatures], rankAxis: 0 });
    const b = take(kind === 'linear' ? 'b' : 'embeddingB', { shape: [outFeatures, rank], rankAxis: 1 });
    const wanted = this.#wantedParts(site);
    const magnitude = wanted.includes('magnitude') ? take('magnitude', { shape: [outFeatures] }) : undefined;
    const bias = wanted.includes('loraBias') ? take('loraBias', { shape: [outFeatures] }) : undefined;
    if (a === undefined || b === undefined) return undefined;
    const scale = this.#targeting.scaleFor(site.path);
    return { site, rank, scale, a, b, ...(magnitude && { magnitude }), ...(bias && { bias }) };
  }

  #replacement(site: AdapterSite, tensors: SiteTensors): ModuleReplacement | undefined {
    if (!tensors.has('weight')) {
      if (this.#targeting.saves(site.path)) {
        this.#report.missing(loraTensorName(site.path, 'weight'), 'modules_to_save names its module');
      }
      return undefined;
    }
    const { kind, inFeatures, outFeatures } = site;
    const shape = kind === 'linear' ? [outFeatures, inFeatures] : [inFeatures, outFeatures];
    const weight = this.#take(site, tensors, 'weight', { shape });
    const bias = this.#biasOf(site, tensors);
    return weight && { site, weight, ...(bias && { bias }) };
  }

  #trainedBias(site: AdapterSite, tensors: SiteTensors): TrainedBias | undefined {
    const bias = tensors.has('weight') ? undefined : this.#biasOf(site, tensors);
    return bias && { site, bias };
  }

  #biasOf(site: AdapterSite, tensors: SiteTensors): TensorView | undefined {
    if (site.kind === 'linear') return this.#take(site, tensors, 'bias', { shape: [site.outFeatures] });
    this.#unused(tensors, ['bias'], 'an embedding has no bias');
    return undefined;
  }

  /** The tensor where it is there and has this shape; another shape is a fault. */
  #take(site: AdapterSite, tensors: SiteTensors, part: LoraPart, wanted: WantedShape): TensorView | undefined {
    const view = tensors.get(part);
    if (view === undefined) return undefined;
    const fault = shapeFault(site, view.shape, wanted);
    if (fault === undefined) {
      this.#report.used([view]);
      return view;
    }
    this.#report.fault(view.name, fault);
    return undefined;
  }

  #unused(tensors: SiteTensors, parts: readonly LoraPart[], reason: string): void {
    for (const part of parts) {
      const view = tensors.get(part);
      if (view !== undefined) this.#report.unused(view.name, reason);
    }
  }

  #tell(site: AdapterSite, module?: LoraModule, replacement?: ModuleReplacement, trainedBias?: TrainedBias): void {
    if (module === undefined && replacement === undefined && trainedBias === undefined) return;
    this.#report.module({
      path: site.path,
      kind: site.kind,
      ...(module && { rank: module.rank, scale: module.scale }),
      dora: module?.magnitude !== undefined,
      loraBias: module?.bias !== undefined,
      replacesWeight: replacement !== undefined,
      replacesBias: (replacement?.bias ?? trainedBias?.bias) !== undefined,
    });
  }
}
