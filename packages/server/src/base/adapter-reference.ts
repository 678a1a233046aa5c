/** How a caller names an adapter, or several merged. Shared by every layer from the options to the routes; knows nothing about finding one. */

export const ADAPTER_SOURCES = ['hub', 'local', 's3', 'pbase'] as const;
export type AdapterSource = (typeof ADAPTER_SOURCES)[number];

/** LoRAX's name for the bare base, which stays within reach beside a default adapter. */
export const BASE_MODEL = '__base_model__';

export interface AdapterReference {
  readonly id: string;
  readonly source: AdapterSource;
  readonly apiToken?: string;
}

/** How several adapters become one; `docs/guides/adapters.md` has the formulas. */
export const MERGE_STRATEGIES = [
  'linear',
  'ties',
  'dare_linear',
  'dare_ties',
  'cat',
  'peft_linear',
  'peft_ties',
  'peft_dare_linear',
  'peft_dare_ties',
  'magnitude_prune',
  'svd',
] as const;
export type MergeStrategy = (typeof MERGE_STRATEGIES)[number];

export const MAJORITY_SIGN_METHODS = ['total', 'frequency'] as const;
export type MajoritySignMethod = (typeof MAJORITY_SIGN_METHODS)[number];

export interface MergeRecipe {
  readonly strategy: MergeStrategy;
  /** Share of the values that pruning keeps, above 0 and at most 1; undefined where the strategy prunes nothing. */
  readonly density: number | undefined;
  readonly majoritySign: MajoritySignMethod;
}

export interface WeightedReference {
  readonly reference: AdapterReference;
  readonly weight: number;
}

/** At least two members, in the caller's order. */
export interface MergedReference {
  readonly members: readonly WeightedReference[];
  readonly recipe: MergeRecipe;
}

/** What a request asks for beside the base. */
export type AdapterChoice = AdapterReference | MergedReference;
