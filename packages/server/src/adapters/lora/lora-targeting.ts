/**
 * PEFT's rules for which modules an adapter enters, with which rank and scale, worked out for all places of a model at
 * once. Knows no tensors. The rules are those of `check_target_module_exists`, `get_pattern_key` and `_set_trainable`.
 */

import { present } from '../../base/assert.ts';
import type { LoraSettings } from './lora-settings.ts';
import { matchPaths, type PathPattern, type PatternForm, type PatternMatch } from './path-patterns.ts';
import { OUTPUT_LAYERS } from './shape-fault.ts';
import type { AdapterSite } from '../site.ts';

interface ModuleRule {
  readonly targeted: boolean;
  readonly saved: boolean;
  readonly rank: number;
  readonly scale: number;
}

/** Every linear but the output layer. */
const ALL_LINEAR = 'all-linear';
/** The number behind the first module that is followed by one. */
const ANY_LAYER = /^.*?\.[^.]*\.(\d+)\./;

export class LoraTargeting {
  readonly #rules: ReadonlyMap<string, ModuleRule>;

  /** Throws ADAPTER_INVALID for a pattern of the settings that cannot be used. */
  constructor(adapterId: string, settings: LoraSettings, sites: readonly AdapterSite[]) {
    this.#rules = new Rules(adapterId, settings, sites).all();
  }

  /** Whether the adapter says that it has low-rank factors here. */
  targets(path: string): boolean {
    return this.#rule(path).targeted;
  }

  /** Whether the adapter says that it carries its own copy of this module (`modules_to_save`). */
  saves(path: string): boolean {
    return this.#rule(path).saved;
  }

  rankFor(path: string): number {
    return this.#rule(path).rank;
  }

  /** alpha / rank, or alpha / sqrt(rank) for rsLoRA, both with the module's own alpha and rank. */
  scaleFor(path: string): number {
    return this.#rule(path).scale;
  }

  #rule(path: string): ModuleRule {
    return present(this.#rules.get(path), `the rule for site ${path}`);
  }
}

class Rules {
  readonly #settings: LoraSettings;
  readonly #sites: readonly AdapterSite[];
  readonly #targetNames: ReadonlySet<string>;
  readonly #excludeNames: ReadonlySet<string>;
  readonly #target: readonly PathPattern[];
  readonly #exclude: readonly PathPattern[];
  readonly #save: readonly PathPattern[];
  readonly #rank: readonly PathPattern[];
  readonly #alpha: readonly PathPattern[];
  readonly #layers: readonly PathPattern[];
  readonly #matches: ReadonlyMap<PathPattern, PatternMatch>;

  constructor(adapterId: string, settings: LoraSettings, sites: readonly AdapterSite[]) {
    this.#settings = settings;
    this.#sites = sites;
    this.#targetNames = namesOf(settings.targetModules);
    this.#excludeNames = namesOf(settings.excludeModules);
    this.#target = patternsOf('target_modules', expression(settings.targetModules), 'whole');
    this.#exclude = patternsOf('exclude_modules', expression(settings.excludeModules), 'whole');
    this.#save = patternsOf('modules_to_save', settings.modulesToSave, 'within');
    this.#rank = patternsOf('rank_pattern', [...settings.rankPattern.keys()], 'tail');
    this.#alpha = patternsOf('alpha_pattern', [...settings.alphaPattern.keys()], 'tail');
    this.#layers = patternsOf('layers_pattern', settings.layersPattern, 'layer');
    this.#matches = matchPaths(
      adapterId,
      [this.#target, this.#exclude, this.#save, this.#rank, this.#alpha, this.#layers].flat(),
      sites.map(({ path }) => path),
    );
  }

  all(): ReadonlyMap<string, ModuleRule> {
    return new Map(this.#sites.map((site, index) => [site.path, this.#ruleAt(site, index)]));
  }

  #ruleAt(site: AdapterSite, index: number): ModuleRule {
    const { rank: rankOfAll, alpha: alphaOfAll, rsLora, rankPattern, alphaPattern } = this.#settings;
    const rank = this.#firstValue(this.#rank, rankPattern, index) ?? rankOfAll;
    const alpha = this.#firstValue(this.#alpha, alphaPattern, index) ?? alphaOfAll;
    return {
      targeted: !this.#isExcluded(site, index) && this.#isTargeted(site, index),
      saved: this.#settings.modulesToSave.some((name) => savesAround(site.path, name)),
      rank,
      scale: alpha / (rsLora ? Math.sqrt(rank) : rank),
    };
  }

  #firstValue(
    patterns: readonly PathPattern[],
    values: ReadonlyMap<string, number>,
    index: number,
  ): number | undefined {
    const first = patterns.find((pattern) => this.#match(pattern, index) !== null);
    return first === undefined ? undefined : values.get(first.python);
  }

  #isExcluded({ path }: AdapterSite, index: number): boolean {
    return isNamed(path, this.#excludeNames) || this.#any(this.#exclude, index) || this.#any(this.#save, index);
  }

  #isTargeted(site: AdapterSite, index: number): boolean {
    if (isAllLinear(this.#settings.targetModules)) return site.kind === 'linear' && !OUTPUT_LAYERS.has(site.path);
    // A module that is named in full is meant, whatever its layer.
    if (this.#targetNames.has(site.path) || this.#any(this.#target, index)) return true;
    return isNamed(site.path, this.#targetNames) && this.#isInLayers(site.path, index);
  }

  #isInLayers(path: string, index: number): boolean {
    const { layersToTransform } = this.#settings;
    if (layersToTransform === undefined) return true;
    const layer = this.#layers.length === 0 ? ANY_LAYER.exec(path)?.[1] : this.#layerByPattern(index);
    return layer !== undefined && layersToTransform.has(Number(layer));
  }

  #layerByPattern(index: number): string | undefined {
    const first = this.#layers.find((pattern) => this.#match(pattern, index) !== null);
    return first === undefined ? undefined : (this.#match(first, index) ?? undefined);
  }

  #any(patterns: readonly PathPattern[], index: number): boolean {
    return patterns.some((pattern) => this.#match(pattern, index) !== null);
  }

  #match(pattern: PathPattern, index: number): string | null {
    return present(this.#matches.get(pattern), `the match of ${pattern.field}`)(index);
  }
}

function patternsOf(field: string, sources: readonly string[], form: PatternForm): readonly PathPattern[] {
  return sources.map((python) => ({ field, python, form }));
}

function namesOf(field: LoraSettings['targetModules']): ReadonlySet<string> {
  return new Set(typeof field === 'string' ? [] : field);
}

function expression(field: LoraSettings['targetModules']): readonly string[] {
  return typeof field === 'string' && !isAllLinear(field) ? [field] : [];
}

function isAllLinear(field: LoraSettings['targetModules']): boolean {
  return typeof field === 'string' && field.toLowerCase() === ALL_LINEAR;
}

/** Whether the path, or what follows some dot of it, is one of the names. */
function isNamed(path: string, names: ReadonlySet<string>): boolean {
  for (let start = 0; ;) {
    if (names.has(path.slice(start))) return true;
    const dot = path.indexOf('.', start);
    if (dot === -1) return false;
    start = dot + 1;
  }
}

/** PEFT copies every module whose path ends in the name (no dot needed), with all that is inside. */
function savesAround(path: string, name: string): boolean {
  return [...path.matchAll(/\.|$/g)].some(({ index }) => path.endsWith(name, index));
}
