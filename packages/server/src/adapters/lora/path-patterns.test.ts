import assert from 'node:assert/strict';
import { describe, it, mock } from 'node:test';
import fc from 'fast-check';
import { LoraxError } from '../../base/errors.ts';
import { matchPaths, type PathPattern } from './path-patterns.ts';

const PATHS = [
  'model.layers.0.mlp.up_proj',
  'model.layers.12.mlp.up_proj',
  'lm_head',
  'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.b',
];

function answers(pattern: PathPattern): (string | null)[] {
  const match = matchPaths('id', [pattern], PATHS).get(pattern);
  assert.ok(match);
  return PATHS.map((_, i) => match(i));
}

function refusal(pattern: PathPattern): string {
  try {
    answers(pattern);
  } catch (error) {
    assert.ok(error instanceof LoraxError && error.code === 'ADAPTER_INVALID');
    return error.message;
  }
  throw new assert.AssertionError({ message: 'nothing was refused' });
}

describe('matching an adapter’s patterns', () => {
  it('tells the layer number where it is asked for', () => {
    assert.deepEqual(answers({ field: 'layers_pattern', python: 'l.yers', form: 'layer' }), ['0', '12', null, null]);
  });

  it('refuses an expression that would match for ages, naming the field', () => {
    for (const python of ['(a+)+c', '(?:a|a)*c', '(a*)*(a*)*c', '(?:(?:(?:a{0,999}){0,999}){0,999}){0,999}c']) {
      assert.match(refusal({ field: 'target_modules', python, form: 'whole' }), /"target_modules" take too long/);
    }
  });

  it('tries again where the process had no processor, and not for ever', () => {
    const pattern: PathPattern = { field: 'target_modules', python: '(a+)+c', form: 'whole' };
    const clock = mock.method(process, 'cpuUsage', () => ({ user: 0, system: 0 }));
    try {
      assert.match(refusal(pattern), /take too long/);
      assert.equal(clock.mock.callCount(), 20);
    } finally {
      clock.mock.restore();
    }
  });

  it('refuses what is no expression, naming field and pattern', () => {
    for (const python of ['a(', 'a**', '(?i)a', 'a{2}{3}', '[b-a]']) {
      assert.match(
        refusal({ field: 'rank_pattern', python, form: 'tail' }),
        /"rank_pattern": the pattern ".*" cannot be read/,
      );
    }
  });

  it('refuses endless patterns without telling them whole', () => {
    const message = refusal({ field: 'exclude_modules', python: '.*'.repeat(3000), form: 'whole' });
    assert.match(message, /longer than 4096/);
    assert.ok(message.length < 500);
  });

  it('finds the same by plain comparison as by expression', () => {
    const text = fc.string({ unit: fc.constantFrom('a', 'b', '.', '_', '1'), maxLength: 8 });
    fc.assert(
      fc.property(text, fc.array(text, { maxLength: 5 }), (python, paths) => {
        const plain: PathPattern = { field: 'rank_pattern', python, form: 'tail' };
        const match = matchPaths('id', [plain], paths).get(plain);
        const expression = new RegExp(`^(?:.*\\.)?(?:${python})$`);
        paths.forEach((path, i) => assert.equal(match?.(i) === '', expression.test(path), `${python} in ${path}`));
      }),
    );
  });
});
