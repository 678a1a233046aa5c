import assert from 'node:assert/strict';
import { test } from 'node:test';
import { drawCurve } from './curve-svg.ts';
import type { CurvePoint } from './loss-curve.ts';

const head = (loss: number | null) => ({ loss, top1: null, top5: null });

test('each head has a line through its losses and a dot for each evaluation', () => {
  const points: CurvePoint[] = [1, 2, 3, 4].flatMap((step): CurvePoint[] => {
    const heads = [head(4 / step), head(step === 2 ? null : 8 / step)];
    const update: CurvePoint = { kind: 'update', step, epoch: step / 2, learningRate: 0.1, loss: 12 / step, heads };
    return step % 2 === 0 ? [update, { kind: 'evaluation', step, epoch: step / 2, heads }] : [update];
  });
  const svg = drawCurve(points);
  const lines = [...svg.matchAll(/<polyline points="([^"]*)"/g)].map(([, places]) => places!.split(' '));
  assert.deepEqual(
    lines.map((places) => places.length),
    [4, 3],
  );
  const heights = lines[0]!.map((place) => Number(place.split(',')[1]));
  assert.deepEqual(
    heights.toSorted((a, b) => a - b),
    heights,
    'lower losses stand lower',
  );
  assert.equal(svg.match(/<circle /g)?.length, 3);
  assert.ok(!/NaN|Infinity|undefined|null/.test(svg));
  assert.equal(svg.match(/<(?!\/)[^>]*[^/]>/g)?.length, svg.match(/<\//g)?.length, 'every element is closed');
});

test('a training without a single point is drawn as well', () => {
  assert.ok(!/NaN|Infinity/.test(drawCurve([])));
});
