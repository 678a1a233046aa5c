/**
 * The programs of all shards for one step or draft: each runs on its own card up to where all meet, and on from there. A
 * program that runs often becomes a graph for each stream. Knows nothing about what they compute.
 */

import { assert } from '../../../base/assert.ts';
import type { Arena } from '../arena.ts';
import { captureGraphs, type CapturedGraph, type CaptureTarget } from '../captured-graph.ts';
import type { Program } from '../program.ts';
import type { Collectives } from './collectives.ts';

export class JointProgram {
  readonly #programs: readonly Program[];
  readonly #collectives: Collectives;
  #graphs: readonly CapturedGraph[] | undefined;
  #runCount = 0;

  /** In the order of the shards; all meet equally often. */
  constructor(programs: readonly Program[], collectives: Collectives) {
    this.#programs = programs;
    this.#collectives = collectives;
  }

  /** Gives the devices all operations, each shard's over memory of its own arena; they are done when all streams are. */
  run(arenas: readonly Arena[], what: string): void {
    this.#prepare(arenas, what);
    this.#launchAll();
  }

  /** The same, from the second time on as graphs: a program that is run twice is likely to be run often. */
  runOften(arenas: readonly Arena[], what: string): void {
    this.#prepare(arenas, what);
    if (this.#runCount++ === 0) return this.#launchAll();
    this.#graphs ??= this.#capture();
    for (const graph of this.#graphs) graph.launch();
  }

  /** Once their work is done. */
  dispose(): void {
    for (const graph of this.#graphs ?? []) graph.dispose();
    this.#graphs = undefined;
  }

  /** Graphs hold addresses. */
  #prepare(arenas: readonly Arena[], what: string): void {
    let stays = false;
    try {
      stays = this.#programs.map((program, shard) => program.prepare(arenas[shard]!, what)).every(Boolean);
    } finally {
      if (!stays) this.dispose();
    }
  }

  #capture(): readonly CapturedGraph[] {
    const targets = new Map<unknown, CaptureTarget>();
    for (const { stream, device } of this.#programs) targets.set(stream, { stream, driver: device.driver });
    const graphs = captureGraphs([...targets.values()], () => this.#launchAll());
    this.#graphs = graphs;
    for (const graph of graphs) graph.upload();
    return graphs;
  }

  #launchAll(): void {
    const runs = this.#programs.map((program) => program.give());
    for (;;) {
      const steps = runs.map((run) => run.next());
      const meetings = steps.flatMap(({ value }) => (value === undefined ? [] : [value]));
      if (meetings.length === 0) return;
      assert(meetings.length === runs.length, 'all shards meet');
      this.#collectives.hold(meetings);
    }
  }
}
