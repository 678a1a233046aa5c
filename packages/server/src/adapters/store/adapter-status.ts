/** What a user sees of an adapter: where it is, what it costs, what became of it. Plain data. */

import type { AdapterSource } from '../../base/adapter-reference.ts';
import type { LoadReport } from '../load-report.ts';

/**
 * `known`: found at its source. `downloading`, then `on_disk`: its files are here. `on_host`: read into memory.
 * `resident`: requests use it without waiting. `draining`: leaves once its running requests end. `failed`: with a reason.
 */
export type AdapterState = 'known' | 'downloading' | 'on_disk' | 'on_host' | 'resident' | 'draining' | 'failed';

export interface AdapterFailure {
  /** Code of the error table. */
  readonly code: string;
  readonly reason: string;
  /** Unix milliseconds; until then requests are answered with this failure. */
  readonly retryAtMs: number;
}

export interface AdapterStatus {
  readonly id: string;
  /** Names that the adapter API gave it. */
  readonly names: readonly string[];
  readonly source: AdapterSource;
  readonly revision: string | undefined;
  /** Content identity, once its files are here. */
  readonly generation: string | undefined;
  readonly state: AdapterState;
  readonly isPinned: boolean;
  readonly bytes: { readonly disk: number; readonly host: number; readonly device: number };
  /** Distinct ranks, ascending. */
  readonly ranks: readonly number[];
  /** Distinct last parts of the adapted modules' paths (`q_proj`), in the model's order. */
  readonly targets: readonly string[];
  /** Unix milliseconds of the last request; undefined before the first. */
  readonly lastUsedAtMs: number | undefined;
  readonly runningCount: number;
  readonly failure: AdapterFailure | undefined;
  /** Once it was read. */
  readonly report: LoadReport | undefined;
}
