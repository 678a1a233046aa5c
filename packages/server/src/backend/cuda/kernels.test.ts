import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { KERNEL_FILES, perRow, perRowElement, perWarp, readKernelSource } from './kernels.ts';

const KERNEL = /extern "C" __global__ void (\w+)\(([^)]*)\)/g;

/** A letter for a parameter as C declares it. */
function letterOf(parameter: string): string {
  if (parameter.includes('*') || /\bOffset\b/.test(parameter)) return 'p';
  return /\bfloat\b/.test(parameter) ? 'f' : 'i';
}

describe('the table of kernels', () => {
  for (const [file, signatures] of Object.entries(KERNEL_FILES)) {
    it(`says what the kernels of ${file} take`, () => {
      const declared = [...readKernelSource(file).text.matchAll(KERNEL)].map(([, name, parameters]) => {
        return [name!, parameters!.split(',').map(letterOf).join('')];
      });
      assert.deepEqual(Object.fromEntries(declared), signatures);
    });
  }
});

describe('grids', () => {
  it('have whole warps, and a block for each row', () => {
    assert.deepEqual(perRow(3, 48), { blocks: [3], threads: 64 });
    assert.deepEqual(perRow(3, 5000), { blocks: [3], threads: 256 });
  });

  it('have a thread or a warp for each result', () => {
    assert.deepEqual(perRowElement(2, 257), { blocks: [2, 2], threads: 256 });
    assert.deepEqual(perWarp(5, 9), { blocks: [5, 2], threads: 256 });
  });
});
