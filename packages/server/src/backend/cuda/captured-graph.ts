/** Work that was given to streams once, and can be given again in one call each. Knows nothing about what it computes. */

import { countHandle } from '../../base/handles.ts';
import type { Pointer } from '../../native/ffi.ts';
import { requireSuccess, type Driver } from './driver.ts';
import type { Stream } from './stream.ts';

/** Other streams may allocate meanwhile: adapters are loaded beside steps. */
const RELAXED = 2;

/** A stream, and the functions of the driver for its card. */
export interface CaptureTarget {
  readonly driver: Driver;
  readonly stream: Stream;
}

/** A graph for each stream that `work` gives something to; nothing of it is done yet. Throws as `work` does, or GENERATION. */
export function captureGraphs([target, ...others]: readonly CaptureTarget[], work: () => void): CapturedGraph[] {
  if (target === undefined) {
    work();
    return [];
  }
  let graphs: CapturedGraph[] = [];
  try {
    const graph = new CapturedGraph(target, () => void (graphs = captureGraphs(others, work)));
    return [graph, ...graphs];
  } catch (error) {
    for (const graph of graphs) graph.dispose();
    throw error;
  }
}

export class CapturedGraph {
  readonly #driver: Driver;
  readonly #stream: Stream;
  readonly #executable: Pointer;

  constructor({ driver, stream }: CaptureTarget, work: () => void) {
    this.#driver = driver;
    this.#stream = stream;
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

  /** Brings it to the card, which its first launch would do by itself: no launch may wait while other cards wait for it. */
  upload(): void {
    requireSuccess(this.#driver.graphUpload(this.#executable, this.#stream.handle), 'the graph of a step');
  }

  launch(): void {
    requireSuccess(this.#driver.graphLaunch(this.#executable, this.#stream.handle), 'the graph of a step');
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
