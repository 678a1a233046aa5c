/** Feeds what the engine tells about itself into the metrics, and each adapter's load report into the log. */

import { MergedBase } from '../adapters/merged-base.ts';
import type { DiskCache } from '../sources/disk-cache.ts';
import type { Logger } from '../telemetry/log.ts';
import type { Metrics } from '../telemetry/metrics.ts';
import { DraftTally } from './draft-tally.ts';
import type { Engine, EngineObserver } from './engine.ts';

const MS_PER_SECOND = 1000;

export function metricsObserver(metrics: Metrics, log: Logger): EngineObserver {
  const tally = new DraftTally();
  metrics.draftsVerified.watch(() => tally.drafts());
  metrics.draftTokensDrafted.watch(() => tally.drafted());
  metrics.draftTokensAccepted.watch(() => tally.accepted());
  return {
    onAdmit: (admittedCount) => metrics.batchNextSize.observe(admittedCount),
    onStep: ({ method, totalMs }) => {
      metrics.batchInferenceCount.inc({ method });
      metrics.batchInferenceSuccess.inc({ method });
      metrics.batchInferenceDuration.observe({ method }, totalMs / MS_PER_SECOND);
    },
    onDraftFailure: (error) => log.error({ err: error }, 'draft heads failed'),
    onStepFailure: (method) => {
      metrics.batchInferenceCount.inc({ method });
      metrics.batchInferenceFailure.inc({ method });
    },
    onVerified: (drafts) => {
      metrics.draftSteps.inc();
      for (const draft of drafts) tally.add(draft);
    },
    onGuessed: (ms) => metrics.draftHeadsDuration.observe(ms / MS_PER_SECOND),
    onAdapterLoaded: ({ id, source, generation, slot, report }, durationMs) => {
      metrics.adapterLoadDuration.observe(durationMs / MS_PER_SECOND);
      const { byteLength } = slot;
      log.info({ id, source, generation, byteLength, base: report?.baseModel.verdict }, 'adapter loaded');
      log.debug({ generation, report }, 'load report');
    },
    onAdapterLoadFailed: () => metrics.adapterLoadFailure.inc(),
    onAdapterEvicted: ({ generation, slot }) => {
      metrics.adapterEvictions.inc();
      log.debug({ generation, byteLength: slot.byteLength }, 'adapter left the device');
    },
  };
}

/** Which device computes, and why. */
export function tellDevice(log: Logger, { backend, deviceBecause: because }: Engine): void {
  const { device, library } = backend.description;
  log.info({ device, library, because }, 'device chosen');
}

/** The adapter of --merge-adapter-weights is loaded with the base, before anybody observes. */
export function tellMerge(log: Logger, { adapters }: Pick<Engine, 'adapters'>): void {
  if (!(adapters instanceof MergedBase)) return;
  const { id, source, generation, report } = adapters.status;
  log.info({ id, source, generation, base: report?.baseModel.verdict }, 'adapter merged into the base');
  log.debug({ generation, report }, 'load report');
}

/** Gauges are read when they are asked for, so that steps do not pay for them. */
export function watchEngine(metrics: Metrics, { kv, scheduler, adapters }: Engine, disk: DiskCache): void {
  metrics.queueLength.watch(() => scheduler.queueLength);
  metrics.batchCurrentSize.watch(() => scheduler.runningCount);
  metrics.batchCurrentMaxTokens.watch(() => kv.usedCount);
  metrics.kvCellsUsed.watch(() => kv.usedCount);
  metrics.kvCellsTotal.watch(() => kv.cellCount);
  metrics.adaptersResident.watch(() => adapters.residents.length);
  metrics.adapterBytes.watch(() => adapters.deviceBytes);
  metrics.adapterHostBytes.watch(() => adapters.hostBytes);
  metrics.adapterDiskBytes.watch(() => disk.totalBytes);
  metrics.adapterQueueLength.watch(() => adapters.waitingCount);
}
