/** A place of the base model where adapters may enter. Declared by models, matched against adapters' tensors and targets. */

export interface AdapterSite {
  /** The module's path as transformers names it: `model.layers.0.self_attn.q_proj`, `model.embed_tokens`, `lm_head`. */
  readonly path: string;
  readonly kind: 'linear' | 'embedding';
  /** Input width of a linear; vocabulary size of an embedding. */
  readonly inFeatures: number;
  /** Output width of a linear; hidden size of an embedding. */
  readonly outFeatures: number;
}
