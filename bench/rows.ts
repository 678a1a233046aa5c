/**
 * The decode step by number of rows: straight on the backend, base and adapters in turn step by step, so that both meet the
 * same machine. Knows no requests.
 */

import type { AdapterSlot } from '#server/backend/adapters.ts';
import { oneSlot, type StepSegment } from '#server/backend/step.ts';
import { present } from '#server/base/assert.ts';
import { openBenchEngine, prepareFiles, type BenchEngine } from './bench-engine.ts';
import { CpuShare } from './cpu-share.ts';
import { describeMachine, loadAverage } from './machine.ts';
import type { BenchOptions } from './options.ts';
import { adapterId, type AdapterRecipe } from './random-adapter.ts';
import { machineText, table, type Reporter } from './report.ts';
import { promptTokens } from './run.ts';
import { nearFastest } from './statistics.ts';

/** Steps of each kind for each number of rows: as many as time allows, within these bounds. */
const LEAST_STEPS = 4;
const MOST_STEPS = 24;
const TIME_MS = 12_000;

/** Where the rows stand in their sequences. */
const POSITION = 256;

interface RowsResult {
  readonly precision: string;
  readonly rows: number;
  readonly baseMs: number;
  readonly adaptersMs: number;
  readonly ratio: number;
  readonly stepCount: number;
  readonly undisturbedCount: number;
}

export async function tabulateRows(
  options: BenchOptions,
  rowCounts: readonly number[],
  reporter: Reporter,
): Promise<void> {
  const { rank } = options.scenarios;
  const recipes = Array.from({ length: Math.max(...rowCounts) }, (_, index) => ({ rank, index }));
  const folder = prepareFiles(options, recipes);
  const results: RowsResult[] = [];
  for (const precision of ['high', 'medium'] as const) {
    const bench = await openBenchEngine({ ...options, precision }, folder);
    try {
      if (results.length === 0) announce(options, bench, reporter);
      const slots = await loadSlots(bench, recipes);
      for (const rows of rowCounts) {
        const result = await measureRows(bench, precision, slots.slice(0, rows));
        process.stderr.write(`${precision}, ${rows} rows: ${result.ratio.toFixed(3)}\n`);
        reporter.record('rows', result);
        results.push(result);
      }
    } finally {
      await bench.engine.dispose();
    }
  }
  reporter.say(rowsTable(results));
  reporter.say(`load average ${loadAverage().toFixed(1)}`);
}

function announce({ shape, dtype, scenarios }: BenchOptions, { engine }: BenchEngine, reporter: Reporter): void {
  const machine = describeMachine(engine.backend.description);
  reporter.say(machineText(machine));
  reporter.say(`${shape.name} ${dtype}, adapters of rank ${scenarios.rank} on all projections, context ${POSITION}`);
  reporter.say(`near the fastest of up to ${MOST_STEPS} steps; load average ${loadAverage().toFixed(1)}\n`);
  reporter.record('machine', machine);
}

async function loadSlots({ engine }: BenchEngine, recipes: readonly AdapterRecipe[]): Promise<AdapterSlot[]> {
  const slots: AdapterSlot[] = [];
  for (const recipe of recipes) {
    const reference = { id: adapterId(recipe), source: 'local' } as const;
    const lease = await engine.adapters.acquire(reference, new AbortController().signal);
    slots.push(...lease.slots.map(({ slot }) => slot));
    lease.release();
  }
  return slots;
}

/** One row for each slot, all different. */
async function measureRows(bench: BenchEngine, precision: string, slots: readonly AdapterSlot[]): Promise<RowsResult> {
  const cpu = new CpuShare(bench.engine.backend.description.threads);
  const pairs: { readonly baseMs: number; readonly adaptersMs: number; readonly isUndisturbed: boolean }[] = [];
  const base = slots.map(() => undefined);
  await stepMs(bench, base);
  await stepMs(bench, slots);
  const deadline = performance.now() + TIME_MS;
  while (pairs.length < MOST_STEPS && (pairs.length < LEAST_STEPS || performance.now() < deadline)) {
    cpu.isUndisturbed();
    const baseMs = await stepMs(bench, base);
    const adaptersMs = await stepMs(bench, slots);
    pairs.push({ baseMs, adaptersMs, isUndisturbed: cpu.isUndisturbed() });
  }
  const baseMs = nearFastest(pairs.map((pair) => pair.baseMs));
  const adaptersMs = nearFastest(pairs.map((pair) => pair.adaptersMs));
  return {
    ...{ precision, rows: slots.length, baseMs, adaptersMs, ratio: adaptersMs / baseMs },
    stepCount: pairs.length,
    undisturbedCount: pairs.filter((pair) => pair.isUndisturbed).length,
  };
}

async function stepMs({ engine }: BenchEngine, slots: readonly (AdapterSlot | undefined)[]): Promise<number> {
  const { backend, model, kv } = engine;
  const segments = slots.map((adapter, row): StepSegment => {
    const [token] = promptTokens(row, 1, model.description.decoder.vocabSize);
    const tokens = [present(token, 'a token')];
    return { tokens, position: POSITION, firstCell: row * (POSITION + 1), adapters: oneSlot(adapter), outputCount: 1 };
  });
  const begun = performance.now();
  await backend.runStep(model.decoder, kv.store, segments, { reduce: true, keepHidden: false });
  return performance.now() - begun;
}

function rowsTable(results: readonly RowsResult[]): string {
  const head = ['precision', 'rows', 'base ms', 'adapters ms', 'to base', 'ms a row', 'quiet'];
  const body = results.map(({ precision, rows, baseMs, adaptersMs, ratio, stepCount, undisturbedCount }) => [
    precision,
    String(rows),
    baseMs.toFixed(1),
    adaptersMs.toFixed(1),
    ratio.toFixed(3),
    (adaptersMs / rows).toFixed(1),
    `${undisturbedCount}/${stepCount}`,
  ]);
  return table([head, ...body]);
}
