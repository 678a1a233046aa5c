/**
 * The course of a training as JSON lines, `loss.jsonl`: one line an update, one an evaluation. Lines of updates that a
 * resumed training repeats are dropped first. Knows nothing about drawing.
 */

import { appendFile, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { HeadFigures } from './scores.ts';

export const CURVE_FILE = 'loss.jsonl';

export interface UpdatePoint {
  readonly kind: 'update';
  /** Updates so far, this one included. */
  readonly step: number;
  readonly epoch: number;
  readonly learningRate: number;
  /** What was minimised: the weighted sum over heads. */
  readonly loss: number;
  readonly heads: readonly HeadFigures[];
}

export interface EvaluationPoint {
  readonly kind: 'evaluation';
  readonly step: number;
  readonly epoch: number;
  readonly heads: readonly HeadFigures[];
}

export type CurvePoint = UpdatePoint | EvaluationPoint;

export class LossCurve {
  readonly #path: string;
  readonly #points: CurvePoint[];

  private constructor(path: string, points: CurvePoint[]) {
    this.#path = path;
    this.#points = points;
  }

  /** Goes on behind the points of the first `stepCount` updates. */
  static async open(folder: string, stepCount: number): Promise<LossCurve> {
    const path = join(folder, CURVE_FILE);
    const points = stepCount === 0 ? [] : (await readPoints(path)).filter(({ step }) => step <= stepCount);
    await writeFile(path, points.map(asLine).join(''));
    return new LossCurve(path, points);
  }

  get points(): readonly CurvePoint[] {
    return this.#points;
  }

  async add(point: CurvePoint): Promise<void> {
    this.#points.push(point);
    await appendFile(this.#path, asLine(point));
  }
}

/** A line that a crash cut short belongs to an update that comes again. */
async function readPoints(path: string): Promise<CurvePoint[]> {
  const text = await readFile(path, 'utf8').catch(() => '');
  return text
    .split('\n')
    .slice(0, -1)
    .flatMap((line) => parseLine(line));
}

function parseLine(line: string): CurvePoint[] {
  try {
    return [JSON.parse(line) as CurvePoint];
  } catch {
    return [];
  }
}

const asLine = (point: CurvePoint): string => `${JSON.stringify(point)}\n`;
