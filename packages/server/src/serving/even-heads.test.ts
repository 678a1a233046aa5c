import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { makeTinyModel, writeTinyModel } from '../testing/tiny-model.ts';
import { fittingCounts, requireEvenHeads } from './even-heads.ts';

describe('the heads of a model', () => {
  let folder: string;
  before(() => {
    folder = mkdtempSync(join(tmpdir(), 'lorax-heads-'));
    writeTinyModel(folder, makeTinyModel(), 'float32');
  });
  after(() => rmSync(folder, { recursive: true }));

  it('go to as many cards as share them evenly', async () => {
    for (const count of [1, 2]) await requireEvenHeads('tiny', folder, count);
  });

  it('are refused to more, with the option and what would do', async () => {
    await assert.rejects(requireEvenHeads('tiny', folder, 4), {
      code: 'OPTION_INVALID',
      message:
        /--num-shard: 4 cards cannot share the 4 heads of attention and 2 of keys and values of tiny evenly; 1 or 2 can/,
    });
  });

  it('count both kinds', () => {
    assert.equal(fittingCounts({ headCount: 32, kvHeadCount: 8 }), '1, 2, 4 or 8');
    assert.equal(fittingCounts({ headCount: 14, kvHeadCount: 2 }), '1 or 2');
    assert.equal(fittingCounts({ headCount: 8, kvHeadCount: 1 }), '1');
  });
});
