import assert from 'node:assert/strict';
import { it } from 'node:test';
import { Findings } from './findings.ts';
import type { Result } from './result.ts';

function result(work: string, value: number, limit: Result['limit']): Result {
  return { work, value, unit: 'times the floor', limit, details: { ms: 1234.5, floorMs: 0.5 } };
}

function record(): { readonly findings: Findings; readonly lines: string[]; readonly records: object[] } {
  const lines: string[] = [];
  const records: object[] = [];
  const say = (line: string) => void lines.push(line);
  return { findings: new Findings({ say, record: (kind, value) => records.push({ kind, ...value }) }), lines, records };
}

it('every figure is told with what was to be reached, and whether it was', () => {
  const { findings, lines, records } = record();
  findings.add(result('a', 1.2, { atMost: 1.2 }));
  findings.add(result('b', 0.5, { atLeast: 0.6 }));
  findings.add(result('c', 2, undefined));
  findings.summarise();
  assert.deepEqual(lines, [
    'reached  a: 1.20 times the floor (to reach: at most 1.2); ms 1235, floorMs 0.500',
    'missed   b: 0.500 times the floor (to reach: at least 0.6); ms 1235, floorMs 0.500',
    '         c: 2.00 times the floor; ms 1235, floorMs 0.500',
    '1 of 2 reached',
  ]);
  assert.deepEqual(
    records.map((each) => (each as { reached?: boolean }).reached),
    [true, false, undefined],
  );
});

it('a part that fails is told, and what it found before stays', async () => {
  const { findings, lines } = record();
  async function* failing(): AsyncGenerator<Result, void, undefined> {
    yield result('a', 1, { atMost: 1 });
    throw new Error('the card is lost');
  }
  await findings.addAll('decode', failing());
  findings.summarise();
  assert.ok(findings.hasFailures);
  assert.match(lines[1]!, /^failed {3}decode: Error: the card is lost/);
  assert.equal(lines[2], '1 of 1 reached; 1 parts failed');
});
