import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { precompiled } from 'tokenizers';
import { precompiledNormalizer } from './precompiled-charsmap.ts';

const RULES: Readonly<Record<string, string>> = {
  Ａ: 'A',
  ﬁ: 'fi',
  '\u3000': ' ',
  '\u200b': '',
  'e\u0301': 'é',
  '½': '1/2',
  q: 'Q',
  한: 'han',
};

/** A double-array trie of the rules: every node gets the first free place at which all its children fit. */
function charsmapOf(rules: Readonly<Record<string, string>>): Buffer {
  const texts: number[] = [];
  const entries = Object.entries(rules).map(([from, to]) => {
    const at = texts.length;
    texts.push(...Buffer.from(to, 'utf8'), 0);
    return { key: [...Buffer.from(from, 'utf8')], at };
  });
  const units = new Map<number, number>([[0, 0]]);
  const place = (position: number, depth: number, under: typeof entries): void => {
    const leaf = under.find(({ key }) => key.length === depth);
    const labels = [...new Set(under.flatMap(({ key }) => key.slice(depth, depth + 1)))];
    let offset = 1;
    const taken = (label: number): boolean => units.has(position ^ offset ^ label);
    while (labels.some(taken) || (leaf !== undefined && taken(0))) offset += 1;
    units.set(position, (units.get(position) ?? 0) | (offset << 10) | (leaf === undefined ? 0 : 0x100));
    if (leaf !== undefined) units.set(position ^ offset, (0x8000_0000 | leaf.at) >>> 0);
    for (const label of labels) units.set(position ^ offset ^ label, label);
    for (const label of labels) {
      place(
        position ^ offset ^ label,
        depth + 1,
        under.filter(({ key }) => key[depth] === label),
      );
    }
  };
  place(0, 0, entries);
  const unitCount = Math.ceil((Math.max(...units.keys()) + 1) / 256) * 256;
  const bytes = Buffer.alloc(4 + 4 * unitCount);
  bytes.writeUInt32LE(4 * unitCount, 0);
  for (const [position, unit] of units) bytes.writeUInt32LE(unit >>> 0, 4 + 4 * position);
  return Buffer.concat([bytes, Buffer.from(texts)]);
}

test('texts become what the reference makes of them with the same table', () => {
  const table = charsmapOf(RULES);
  const ours = precompiledNormalizer(table.toString('base64'));
  const reference = precompiled([...table]);
  assert.equal(ours('Ａﬁx\u3000½ e\u0301 e q\u0301 한'), 'Afix 1/2 é e Q han');
  const chars = [...Object.keys(RULES), 'a', 'e', '\u0301', ' ', 'Ｂ', '日', '👩‍👩‍👧'];
  fc.assert(
    fc.property(fc.string({ unit: fc.constantFrom(...chars), maxLength: 12 }), (text) => {
      assert.equal(ours(text), reference.normalizeString(text));
    }),
    { numRuns: 500 },
  );
});

test('a damaged table is refused', () => {
  for (const damaged of ['', 'AAAA', Buffer.from([255, 255, 0, 0, 1]).toString('base64')]) {
    assert.throws(() => precompiledNormalizer(damaged), /precompiled_charsmap is damaged/);
  }
});
