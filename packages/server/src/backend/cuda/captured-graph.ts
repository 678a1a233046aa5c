/** Work that was given to a stream once, and can be given again in one call. Knows nothing about what it computes. */

import { countHandle } from '../../base/handles.ts';
import type { Pointer } from '../../native/ffi.ts';
import { requireSuccess, type Driver } from './driver.ts';
import type { Stream } from './stream.ts';

/** Other streams may allocate meanwhile: adapters are loaded beside steps. */
const RELAXED = 2;

export class CapturedGraph {
  readonly #driver: Driver;
  readonly #executable: Pointer;

  /** Nothing of what `work` gives the stream is done yet. Throws as `work` does, or GENERATION. */
  constructor(driver: Driver, stream: Stream, work: () => void) {
    this.#driver = driver;
    const graph = capture(driver, stream, work);
    const executable = new BigUint64Array(1);
    try {
      requireSuccess(driver.graphInstantiate(executable, graph, 0), 'making a graph of a step');
    } finally {
      driver.graphDestroy(graph);
    }
    this.#executable = executable[0]!;
    countHandle('cuda graph', 1);
  }

  launch(stream: Stream): void {
    requireSuccess(this.#driver.graphLaunch(this.#executable, stream.handle), 'the graph of a step');
  }

  /** Once its work is done. */
  dispose(): void {
    this.#driver.graphExecDestroy(this.#executable);
    countHandle('cuda graph', -1);
  }
}

function capture(driver: Driver, stream: Stream, work: () => void): Pointer {
  const graph = new BigUint64Array(1);
  requireSuccess(driver.beginCapture(stream.handle, RELAXED), 'recording a step');
  try {
    work();
  } catch (error) {
    // The stream is of no use while it records; what was recorded so far is of no use either.
    if (driver.endCapture(stream.handle, graph) === 0) driver.graphDestroy(graph[0]!);
    throw error;
  }
  requireSuccess(driver.endCapture(stream.handle, graph), 'recording a step');
  return graph[0]!;
}
