/** How a request wants its tokens chosen: the validated parameters, with every default filled in. */

export interface SamplingParams {
  readonly doSample: boolean;
  /** 0 means greedy, whatever else is set. */
  readonly temperature: number;
  /** 0 is off. */
  readonly topK: number;
  /** 1 is off. */
  readonly topP: number;
  /** 1 is off. */
  readonly typicalP: number;
  /** 1 is off. */
  readonly repetitionPenalty: number;
  /** 0 is off. */
  readonly frequencyPenalty: number;
  /** 0 is off. */
  readonly presencePenalty: number;
  readonly watermark: boolean;
  /** Unsigned 64-bit. */
  readonly seed: bigint;
}

export const GREEDY: SamplingParams = {
  doSample: false,
  temperature: 1,
  topK: 0,
  topP: 1,
  typicalP: 1,
  repetitionPenalty: 1,
  frequencyPenalty: 0,
  presencePenalty: 0,
  watermark: false,
  seed: 0n,
};

/** LoRAX's rule (spec section 9.1), with temperature 0 always greedy. */
export function isSampling(params: SamplingParams): boolean {
  if (params.temperature === 0) return false;
  return params.doSample || params.temperature !== 1 || params.topK !== 0 || params.topP < 1 || params.typicalP < 1;
}
