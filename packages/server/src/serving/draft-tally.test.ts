import assert from 'node:assert/strict';
import { it } from 'node:test';
import { DraftTally } from './draft-tally.ts';

it('counts tokens by adapter and place, and acceptance up to the first wrong one', () => {
  const tally = new DraftTally();
  tally.add({ adapter: 'poet', drafted: [1, 1, 1], acceptedCount: 2 });
  tally.add({ adapter: 'poet', drafted: [3, 2], acceptedCount: 0 });
  tally.add({ adapter: 'base', drafted: [1], acceptedCount: 1 });
  assert.deepEqual(tally.drafts(), [
    { labels: { adapter: 'poet' }, value: 2 },
    { labels: { adapter: 'base' }, value: 1 },
  ]);
  const values = (samples: ReturnType<DraftTally['drafted']>) =>
    samples.map(({ labels: { adapter, place }, value }) => `${adapter} ${place}: ${value}`);
  assert.deepEqual(values(tally.drafted()), ['poet 1: 4', 'poet 2: 3', 'poet 3: 1', 'base 1: 1']);
  assert.deepEqual(values(tally.accepted()), ['poet 1: 1', 'poet 2: 1', 'poet 3: 0', 'base 1: 1']);
});

it('gives so many adapters numbers of their own, and counts the rest together', () => {
  const tally = new DraftTally();
  const adapters = Array.from({ length: 1000 }, (_, i) => `adapter ${i}`);
  for (const adapter of [...adapters, ...adapters]) tally.add({ adapter, drafted: [1], acceptedCount: 1 });
  const counts = new Map(tally.drafts().map(({ labels, value }) => [labels.adapter, value]));
  assert.ok(counts.size <= 65);
  assert.equal(counts.get('adapter 0'), 2);
  assert.equal(counts.get('other'), 2 * (1000 - (counts.size - 1)));
});
