/** The frozen base model as the trainer sees it: tokens in, hidden states out. */

export interface HiddenStates {
  readonly hiddenSize: number;
  /** Hidden states after the last norm, `[tokens, hidden]`; the same tokens give the same bits. */
  of(tokens: readonly number[], signal: AbortSignal): Promise<Float32Array>;
}
