/** What drafting tells about itself, for metrics and benchmarks. */

/** One sequence's draft after its step. */
export interface VerifiedDraft {
  readonly adapter: string;
  /** How many tokens it had for each place. */
  readonly drafted: readonly number[];
  /** How many of them were right, one after the other. */
  readonly acceptedCount: number;
}

export interface DraftingObserver {
  /** All drafts of one step, at least one. */
  onVerified(drafts: readonly VerifiedDraft[]): void;
  /** Draft heads ran, for however many sequences. */
  onGuessed(ms: number): void;
}
