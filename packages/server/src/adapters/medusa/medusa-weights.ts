/**
 * A Medusa adapter's tensors, each in its head, as a device takes them. Every tensor of the file is accounted for in the
 * report. Reads no values: finiteness is checked where they are copied.
 */

import { medusaWeightNames, type MedusaShape } from '../../layers/medusa/medusa-model.ts';
import { stackRows } from '../../weights/stacked-tensor.ts';
import type { TensorFile, TensorView } from '../../weights/tensor-view.ts';
import type { BaseCheck } from '../base-check.ts';
import { ReportBuilder, type LoadReport } from '../load-report.ts';
import type { MedusaConfig } from './medusa-config.ts';

/** What draft heads ask of a model. */
export interface DraftableModel {
  readonly hiddenSize: number;
  readonly vocabSize: number;
}

/** `0.0.linear.weight`, or `0.1.weight` of an own output layer; the original repository writes a prefix. */
const HEAD_TENSOR = /^(?:medusa_head\.)?(\d{1,3})\.(\d{1,3})\.(?:linear\.(weight|bias)|(weight))$/;

/** Whether a tensor of a folder with LoRA and Medusa belongs to the heads. */
export function isMedusaTensor(name: string): boolean {
  return HEAD_TENSOR.test(name);
}

export class MedusaWeights {
  readonly config: MedusaConfig;
  readonly shape: MedusaShape;
  /** Under the names of `medusaWeightNames`. */
  readonly tensors: readonly TensorView[];
  readonly report: LoadReport;

  private constructor(config: MedusaConfig, shape: MedusaShape, tensors: readonly TensorView[], report: LoadReport) {
    this.config = config;
    this.shape = shape;
    this.tensors = tensors;
    this.report = report;
  }

  /**
   * Throws ADAPTER_INVALID with the load report as details. Heads have output layers of their own (version 1) where they
   * have several blocks or the file holds such a layer, as LoRAX decides it, whatever the configuration calls them.
   */
  static map(config: MedusaConfig, tensors: TensorFile, model: DraftableModel, baseModel: BaseCheck): MedusaWeights {
    const { adapterId, headCount, layerCount } = config;
    const { hiddenSize, vocabSize } = model;
    const report = new ReportBuilder({ adapterId, strict: true, baseModel, ignoredConfigFields: [] });
    const byName = new Map(tensors.names.map((name) => [plainName(name), name]));
    const version = layerCount > 1 || byName.has(`0.${layerCount}.weight`) ? 1 : 2;
    const shape: MedusaShape = { version, headCount, layerCount, hiddenSize, vocabSize };
    const taken = new HeadTensors(tensors, byName, report);
    const heads = Array.from({ length: headCount }, (_, head) => taken.head(head, shape));
    taken.tellUnused(config);
    const verdict = report.verdict();
    const complete = heads.map((head) => head.flatMap((view) => view ?? []));
    return new MedusaWeights(config, shape, version === 2 ? fuse(complete) : complete.flat(), verdict);
  }
}

/** Takes tensors out of the file by what they should be, and tells the report. */
class HeadTensors {
  readonly #file: TensorFile;
  /** Names in the file by their names without a prefix. */
  readonly #byName: ReadonlyMap<string, string>;
  readonly #report: ReportBuilder;
  readonly #taken = new Set<string>();

  constructor(file: TensorFile, byName: ReadonlyMap<string, string>, report: ReportBuilder) {
    this.#file = file;
    this.#byName = byName;
    this.#report = report;
  }

  /** The blocks' weights and biases and, of version 1, the output layer; a hole for each that is missing or wrong. */
  head(head: number, { version, layerCount, hiddenSize, vocabSize }: MedusaShape): (TensorView | undefined)[] {
    const found: (TensorView | undefined)[] = [];
    for (let layer = 0; layer < layerCount; layer++) {
      const names = medusaWeightNames.block(head, layer);
      found.push(this.#take(`${head}.${layer}.linear.weight`, names.weight, [hiddenSize, hiddenSize]));
      found.push(this.#take(`${head}.${layer}.linear.bias`, names.bias, [hiddenSize]));
    }
    if (version === 1) {
      found.push(this.#take(`${head}.${layerCount}.weight`, medusaWeightNames.output(head), [vocabSize, hiddenSize]));
    }
    return found;
  }

  tellUnused({ headCount, layerCount }: MedusaConfig): void {
    for (const [plain, name] of this.#byName) {
      if (this.#taken.has(plain)) continue;
      this.#report.unused(name, `the configuration says ${headCount} heads of ${layerCount} layers`);
    }
  }

  #take(plain: string, as: string, shape: readonly number[]): TensorView | undefined {
    this.#taken.add(plain);
    const name = this.#byName.get(plain);
    const view = name === undefined ? undefined : this.#file.get(name);
    if (name === undefined || view === undefined) {
      this.#report.missing(plain, 'the configuration promises this head');
      return undefined;
    }
    if (view.shape.join() !== shape.join()) {
      this.#report.fault(name, `its shape is [${view.shape.join(', ')}], needed is [${shape.join(', ')}]`);
      return undefined;
    }
    this.#report.used([view]);
    return { ...view, name: as };
  }
}

function plainName(name: string): string {
  return name.replace(/^medusa_head\./, '');
}

/** One weight and one bias for all heads; each head brings one of both. */
function fuse(heads: readonly (readonly TensorView[])[]): TensorView[] {
  const { weight, bias } = medusaWeightNames.fused;
  return [
    stackRows(
      weight,
      heads.map(([view]) => view!),
    ),
    stackRows(
      bias,
      heads.map(([, view]) => view!),
    ),
  ];
}
