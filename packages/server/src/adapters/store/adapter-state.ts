/** What became of an adapter, as users see it, from what the catalog and the tiers know. Plain functions. */

import type { AdapterRecord } from './adapter-catalog.ts';
import type { HostAdapter } from '../adapter-loader.ts';
import type { AdapterFacts } from './adapter-preparation.ts';
import type { AdapterState, AdapterStatus } from './adapter-status.ts';
import type { ResidentAdapter } from './residency-table.ts';

/** Where one content is now. */
export interface AdapterTiers {
  readonly host: HostAdapter | undefined;
  readonly resident: ResidentAdapter | undefined;
  readonly facts: AdapterFacts | undefined;
  readonly isDraining: boolean;
  readonly isPinned: boolean;
}

export function adapterStatus(record: AdapterRecord, names: readonly string[], tiers: AdapterTiers): AdapterStatus {
  const { id, source, revision, generation, diskBytes, lastUsedAtMs, runningCount, failure } = record;
  const { host, resident, facts, isPinned } = tiers;
  return {
    ...{ id, names, source, revision, generation, isPinned, lastUsedAtMs, runningCount },
    state: stateOf(record, tiers),
    bytes: { disk: diskBytes, host: host?.byteLength ?? 0, device: resident?.slot.byteLength ?? 0 },
    ranks: facts?.ranks ?? [],
    targets: facts?.targets ?? [],
    failure: resident ? undefined : failure,
    report: resident?.report ?? host?.report,
  };
}

/** The first that is true. */
function stateOf(record: AdapterRecord, { host, resident, isDraining }: AdapterTiers): AdapterState {
  if (isDraining) return 'draining';
  if (resident) return 'resident';
  if (record.failure) return 'failed';
  if (host) return 'on_host';
  if (record.isOnDisk) return 'on_disk';
  return record.fetchingCount > 0 ? 'downloading' : 'known';
}
