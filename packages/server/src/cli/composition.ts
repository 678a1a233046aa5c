/**
 * What the commands need of the composition root, and its loading on first use: importing it loads the tensor library,
 * which `--help` must not.
 */

import type { ServeOptions } from '../config/options.ts';
import type { Generator } from '../scheduler/request.ts';
import type { BackendReport } from '../serving/describe-backend.ts';
import type { MemoryEstimate } from '../serving/memory-estimate.ts';
import type { Logger } from '../telemetry/log.ts';
import type { Progress } from '../telemetry/progress.ts';
import type { TrainingBase } from '../training/base.ts';

export interface RunningServer {
  readonly url: string;
  readonly adapters: readonly string[];
  readonly modelId: string;
  close(): Promise<void>;
}

export interface LoadedEngine {
  readonly generator: Generator;
  dispose(): Promise<void>;
}

export interface StartDependencies {
  readonly log: Logger;
  readonly progress: Progress;
  readonly signal: AbortSignal;
}

export interface Composition {
  readonly startServer: (options: ServeOptions, deps: StartDependencies) => Promise<RunningServer>;
  readonly loadEngine: (options: ServeOptions, deps: StartDependencies) => Promise<LoadedEngine>;
  readonly describeEngine: (options: ServeOptions) => Promise<BackendReport>;
  readonly openTrainingBase: (options: ServeOptions, deps: StartDependencies) => Promise<TrainingBase>;
  readonly estimateMemory: (options: ServeOptions) => Promise<MemoryEstimate>;
}

export async function loadComposition(): Promise<Composition> {
  return await import('../server.ts');
}
