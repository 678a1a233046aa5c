import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { describe, it } from 'node:test';
import { LoraConfig } from './lora-config.ts';
import type { AdapterSite } from '../site.ts';
import { configBytes, fakeModel } from '../testing/fake-model.ts';

interface PeftAnswers {
  readonly peft: string;
  readonly paths: readonly string[];
  readonly cases: readonly {
    readonly config: Readonly<Record<string, unknown>>;
    /** Of each path: targeted, rank, scale. */
    readonly rows: readonly (readonly [boolean, number, number])[];
  }[];
}

const PEFT = JSON.parse(
  readFileSync(new URL('../../../src/adapters/lora/testdata/peft-targeting.json', import.meta.url), 'utf8'),
) as PeftAnswers;

function targetingOf(fields: Readonly<Record<string, unknown>>, sites: readonly AdapterSite[]) {
  return LoraConfig.parse(configBytes(fields), 'id').targeting(sites);
}

describe('targets, ranks and scales', () => {
  it('are those of PEFT for lists, expressions, exclusions, layers and patterns', () => {
    const sites = PEFT.paths.map((path): AdapterSite => ({ path, kind: 'linear', inFeatures: 8, outFeatures: 8 }));
    for (const { config, rows } of PEFT.cases) {
      const targeting = targetingOf(config, sites);
      const ours = PEFT.paths.map((path) => [
        targeting.targets(path),
        targeting.rankFor(path),
        targeting.scaleFor(path),
      ]);
      assert.deepEqual(ours, rows, JSON.stringify(config));
    }
  });

  it('mean every linear but the output layer by all-linear', () => {
    const { sites } = fakeModel();
    for (const all of ['all-linear', 'All-Linear']) {
      const targeting = targetingOf({ target_modules: all, exclude_modules: ['up_proj'] }, sites);
      const left = sites.map(({ path }) => path).filter((path) => !targeting.targets(path));
      assert.deepEqual(left, [
        'model.embed_tokens',
        'model.layers.0.mlp.up_proj',
        'model.layers.1.mlp.up_proj',
        'lm_head',
      ]);
    }
  });

  it('copy modules whose path ends in a name, with what is inside', () => {
    const { sites } = fakeModel();
    const saved = (name: string): string[] => {
      const targeting = targetingOf({ modules_to_save: [name] }, sites);
      return sites.map(({ path }) => path).filter((path) => targeting.saves(path));
    };
    assert.deepEqual(saved('head'), ['lm_head']);
    assert.deepEqual(saved('0.mlp').length, 3);
    assert.deepEqual(saved('score'), []);
  });
});
