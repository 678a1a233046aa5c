/** Draws the course of a training: one line of losses a head, dots for evaluations. Knows no file. */

import type { CurvePoint } from './loss-curve.ts';

const WIDTH = 720;
const HEIGHT = 360;
const MARGIN = { left: 56, right: 96, top: 24, bottom: 40 };
const COLOURS = ['#3366cc', '#dc3912', '#109618', '#ff9900', '#990099', '#0099c6', '#dd4477', '#66aa00'];
const TICK_COUNT = 5;

interface Scale {
  x(step: number): number;
  y(loss: number): number;
}

interface Place {
  readonly step: number;
  readonly loss: number;
}

/** A whole SVG document; points without a loss are left out. */
export function drawCurve(points: readonly CurvePoint[]): string {
  const headCount = points[0]?.heads.length ?? 0;
  const heads = Array.from({ length: headCount }, (_, head) => ({
    updates: places(points, 'update', head),
    evaluations: places(points, 'evaluation', head),
  }));
  const all = heads.flatMap(({ updates, evaluations }) => [...updates, ...evaluations]);
  const lastStep = Math.max(1, ...all.map(({ step }) => step));
  const highest = Math.max(Number.MIN_VALUE, ...all.map(({ loss }) => loss));
  const scale = scaleOf(lastStep, highest);
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${WIDTH}" height="${HEIGHT}" viewBox="0 0 ${WIDTH} ${HEIGHT}"`,
    ' font-family="sans-serif" font-size="11">\n',
    '<rect width="100%" height="100%" fill="white"/>\n',
    axes(scale, lastStep, highest),
    ...heads.map(({ updates, evaluations }, head) => drawHead(scale, head, updates, evaluations)),
    '</svg>\n',
  ].join('');
}

function places(points: readonly CurvePoint[], kind: CurvePoint['kind'], head: number): Place[] {
  return points.flatMap((point) => {
    const loss = point.kind === kind ? (point.heads[head]?.loss ?? null) : null;
    return loss === null ? [] : [{ step: point.step, loss }];
  });
}

function scaleOf(lastStep: number, highest: number): Scale {
  const width = WIDTH - MARGIN.left - MARGIN.right;
  const height = HEIGHT - MARGIN.top - MARGIN.bottom;
  return {
    x: (step) => MARGIN.left + (width * step) / lastStep,
    y: (loss) => MARGIN.top + height * (1 - loss / highest),
  };
}

function axes(scale: Scale, lastStep: number, highest: number): string {
  const [left, bottom] = [scale.x(0), scale.y(0)];
  const ticks = Array.from({ length: TICK_COUNT + 1 }, (_, tick) => tick / TICK_COUNT);
  const lines = ticks.map((share) => {
    const y = at(scale.y(highest * share));
    const x = at(scale.x(lastStep * share));
    return [
      `<path d="M${at(left)} ${y}H${at(scale.x(lastStep))}" stroke="#ddd"/>`,
      label(left - 6, Number(y) + 4, 'end', (highest * share).toFixed(2)),
      label(Number(x), bottom + 16, 'middle', String(Math.round(lastStep * share))),
    ].join('');
  });
  const captions =
    label(left, MARGIN.top - 8, 'start', 'cross-entropy, nats a token') +
    label(scale.x(lastStep / 2), HEIGHT - 6, 'middle', 'updates');
  return `${lines.join('')}${captions}\n`;
}

function drawHead(scale: Scale, head: number, updates: readonly Place[], evaluations: readonly Place[]): string {
  const colour = COLOURS[head % COLOURS.length]!;
  const line = updates.map(({ step, loss }) => `${at(scale.x(step))},${at(scale.y(loss))}`).join(' ');
  const dots = evaluations.map(
    ({ step, loss }) => `<circle cx="${at(scale.x(step))}" cy="${at(scale.y(loss))}" r="3.5" fill="${colour}"/>`,
  );
  const last = updates.at(-1);
  const name = last ? label(scale.x(last.step) + 8, scale.y(last.loss) + 4, 'start', `head ${head}`, colour) : '';
  return `<polyline points="${line}" fill="none" stroke="${colour}" stroke-opacity="0.7"/>${dots.join('')}${name}\n`;
}

function label(x: number, y: number, anchor: string, text: string, colour = '#333'): string {
  return `<text x="${at(x)}" y="${at(y)}" text-anchor="${anchor}" fill="${colour}">${text}</text>`;
}

/** Tenths of a pixel are enough. */
function at(value: number): string {
  return String(Math.round(value * 10) / 10);
}
