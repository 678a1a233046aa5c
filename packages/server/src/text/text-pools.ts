/**
 * The worker processes of a server: few, however many adapters bring tokenizers and templates of their own, and apart by
 * what can go wrong in them. Knows no tokenizer.
 */
import { WorkerPool } from './worker-pool.ts';

const WORKERS = 2;
const ENCODE_DEADLINE_MS = 60_000;
const STRANGERS_DEADLINE_MS = 10_000;
const RENDER_DEADLINE_MS = 2000;
const ENCODE_HEAP_MB = 2048;
const RENDER_HEAP_MB = 128;

export interface TextPoolOptions {
  /** Time for one rendering; 2 seconds unless told. */
  readonly templateDeadlineMs?: number;
  /** Time for one text with an adapter's own tokenizer; 10 seconds unless told. */
  readonly strangersDeadlineMs?: number;
  /** Processes per pool; 2 unless told. */
  readonly workers?: number;
}

export interface TextPools {
  /** Long texts, with the served model's tokenizer. */
  readonly encoders: WorkerPool;
  /** Tokenizers that adapters brought: their expressions may run for ever. */
  readonly strangers: WorkerPool;
  /** All chat templates. */
  readonly renderers: WorkerPool;
  dispose(): Promise<void>;
}

export function openTextPools(options: TextPoolOptions): TextPools {
  const size = options.workers ?? WORKERS;
  const { templateDeadlineMs = RENDER_DEADLINE_MS, strangersDeadlineMs = STRANGERS_DEADLINE_MS } = options;
  const encoders = new WorkerPool({ size, deadlineMs: ENCODE_DEADLINE_MS, maxHeapMb: ENCODE_HEAP_MB });
  const strangers = new WorkerPool({ size, deadlineMs: strangersDeadlineMs, maxHeapMb: ENCODE_HEAP_MB });
  const renderers = new WorkerPool({ size, deadlineMs: templateDeadlineMs, maxHeapMb: RENDER_HEAP_MB });
  const dispose = async (): Promise<void> => {
    await Promise.all([encoders, strangers, renderers].map((pool) => pool.dispose()));
  };
  return { encoders, strangers, renderers, dispose };
}
