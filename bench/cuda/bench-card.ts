/** Everything that was asked for, measured in turn on one card. */

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Backend } from '#server/backend/backend.ts';
import { loadCudaLibraries } from '#server/backend/cuda/libraries.ts';
import { LoraxError } from '#server/base/errors.ts';
import { findDevice, openBackend, type ChosenDevice } from '#server/serving/backend.ts';
import { describeMachine } from '../machine.ts';
import { machineText, type Reporter } from '../report.ts';
import { readShape, type Shape } from '../shapes.ts';
import { measureCeilings, type Ceilings } from './ceilings.ts';
import { usualTokensPerSecond } from './decode.ts';
import { fillContexts } from './decode-segments.ts';
import { Findings } from './findings.ts';
import { measureHttp } from './http.ts';
import type { CudaBenchOptions } from './options.ts';
import { comparePeft, readPeft } from './peft.ts';
import { RandomViews } from './random-views.ts';
import { ResidentModel } from './resident-model.ts';
import { cellCount, SIZES } from './sizes.ts';
import { STEP_PARTS } from './steps.ts';

/** Whether every part could be measured; a machine without a card has none that could not. */
export async function benchCard(options: CudaBenchOptions, reporter: Reporter): Promise<boolean> {
  const { parts, layerCount, peftFile } = options;
  const peft = peftFile === undefined ? undefined : readPeft(peftFile, layerCount, SIZES);
  const card = findCards(options, reporter);
  if (card === undefined) return true;
  const shape = mistralShape(layerCount);
  const findings = new Findings(reporter);
  const stepTokensPerSecond = await measureSteps(card, shape, options, reporter, findings);
  if (parts.has('http')) {
    await findings.addAll('http', measureHttp({ ...options, shape, sizes: SIZES, stepTokensPerSecond }));
  }
  if (peft) for (const result of comparePeft(peft, findings.results, SIZES)) findings.add(result);
  findings.summarise();
  return !findings.hasFailures;
}

function mistralShape(layerCount: number): Shape {
  const whole = readShape('mistral-7b');
  return layerCount === whole.layerCount ? whole : { ...whole, layerCount, name: `${whole.name}-${layerCount}` };
}

/** Undefined where there is none; that was said then. */
function findCards({ device, shardCount }: CudaBenchOptions, reporter: Reporter): ChosenDevice | undefined {
  try {
    return findDevice(device, shardCount);
  } catch (error) {
    if (!(error instanceof LoraxError)) throw error;
    reporter.say(`nothing was measured: ${error.message}`);
    return undefined;
  }
}

/** Tokens a second of the usual steps, with which HTTP is compared; NaN where that is not measured. */
async function measureSteps(
  card: ChosenDevice,
  shape: Shape,
  { parts, precision }: CudaBenchOptions,
  reporter: Reporter,
  findings: Findings,
): Promise<number> {
  const backend = await openCard(card, precision, reporter);
  try {
    const views = new RandomViews(shape);
    const model = await loadModel(backend, views, { shape, precision, cellCount: cellCount(SIZES) }, reporter);
    const ceilings = await tellCeilings(views, card.cards.length, reporter);
    await fillContexts(model, SIZES);
    for (const { name, measure } of STEP_PARTS) {
      if (parts.has(name)) await findings.addAll(name, measure(model, ceilings, SIZES));
    }
    const usual = parts.has('http') ? await usualTokensPerSecond(model, SIZES) : NaN;
    model.dispose();
    return usual;
  } finally {
    backend.dispose();
  }
}

/** Kernels are asked of the compiler anew, which may have kept them itself. */
async function openCard(
  card: ChosenDevice,
  precision: CudaBenchOptions['precision'],
  reporter: Reporter,
): Promise<Backend> {
  const kernelCacheFolder = mkdtempSync(join(tmpdir(), 'lorax-bench-kernels-'));
  try {
    const { signal } = new AbortController();
    const begun = performance.now();
    const backend = await openBackend(card, { threads: 1, precision, ggmlPath: undefined, kernelCacheFolder, signal });
    const kernelsMs = performance.now() - begun;
    const machine = describeMachine(backend.description);
    reporter.say(`${machineText(machine)}, precision ${precision}; kernels loaded in ${kernelsMs.toFixed(0)} ms`);
    reporter.record('machine', { ...machine, precision, kernelsMs });
    return backend;
  } finally {
    rmSync(kernelCacheFolder, { recursive: true });
  }
}

async function loadModel(
  backend: Backend,
  views: RandomViews,
  size: Parameters<typeof ResidentModel.load>[2],
  reporter: Reporter,
): Promise<ResidentModel> {
  const begun = performance.now();
  const model = await ResidentModel.load(backend, views, size);
  const gigabytes = model.weightBytes / 1e9;
  const seconds = (performance.now() - begun) / 1000;
  reporter.say(
    `weights: ${gigabytes.toFixed(2)} GB in ${seconds.toFixed(1)} s, ${(gigabytes / seconds).toFixed(1)} GB/s`,
  );
  reporter.record('weights', { gigabytes, seconds });
  return model;
}

/** Measured on one card; together they can do so many times as much. */
async function tellCeilings(views: RandomViews, cardCount: number, reporter: Reporter): Promise<Ceilings> {
  const { bytesPerSecond, flopsPerSecond } = await measureCeilings(loadCudaLibraries(), views.address);
  const products = `products of bfloat16 matrices run at ${(flopsPerSecond / 1e12).toFixed(0)} TFLOP/s`;
  reporter.say(`the card copies ${(bytesPerSecond / 1e12).toFixed(2)} TB/s, ${products}\n`);
  const ceilings = { bytesPerSecond: cardCount * bytesPerSecond, flopsPerSecond: cardCount * flopsPerSecond };
  reporter.record('ceilings', ceilings);
  return ceilings;
}
