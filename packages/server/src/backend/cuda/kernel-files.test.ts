import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { KERNEL_FILES, readKernelSource } from './kernel-files.ts';
import type { KernelSource } from './nvrtc.ts';

const KERNEL = /extern "C" __global__ void (?:__\w+__\([^)]*\) )*(\w+)\(([^)]*)\) \{([^]*?)\n\}/g;

/** No method: many have the same names. */
const FUNCTION = /^__device__ [^(\n]*?(\w+)\([^{;]*?\) \{(.*\}$|[^]*?^\})/gm;

/** Kernels may begin before the one ahead has ended. */
const WAITS = ['beginKernel', 'waitForPrevious'];

/** Whether it waits for the kernel ahead, itself or through functions that it calls. */
function waits(body: string, functions: ReadonlyMap<string, string>): boolean {
  const called = [...body.matchAll(/\b(\w+)(?:<[^;]*>)?\(/g)].map(([, name]) => name!);
  return called.some((name) => {
    // One that calls another of its name is looked into once.
    const others = new Map([...functions].filter(([known]) => known !== name));
    return WAITS.includes(name) || waits(functions.get(name) ?? '', others);
  });
}

function kernelsOf(file: string): RegExpExecArray[] {
  return [...readKernelSource(file).text.matchAll(KERNEL)];
}

/** Headers by name, as often as they are reached: the compiler has them from no file that it could tell apart. */
function includesOf(text: string, headers: Readonly<Record<string, string>>): string[] {
  return [...text.matchAll(/^#include "(.+)"/gm)].flatMap(([, name]) => {
    const header = headers[name!];
    assert.ok(header !== undefined, `${name} is among the headers`);
    return [name!, ...includesOf(header, headers)];
  });
}

/** Bodies by name: the file's own and its headers'. */
function functionsOf({ text, headers }: KernelSource): Map<string, string> {
  const texts = [text, ...includesOf(text, headers).map((name) => headers[name]!)];
  const functions = texts.flatMap((from) => [...from.matchAll(FUNCTION)]);
  return new Map(functions.map(([, name, body]) => [name!, body!] as const));
}

/** A letter for a parameter as C declares it. */
function letterOf(parameter: string): string {
  if (parameter.includes('TensorMap')) return 'm';
  if (parameter.includes('*') || /\bOffset\b/.test(parameter)) return 'p';
  return /\bfloat\b/.test(parameter) ? 'f' : 'i';
}

describe('the table of kernels', () => {
  for (const [file, signatures] of Object.entries(KERNEL_FILES)) {
    it(`says what the kernels of ${file} take`, () => {
      const declared = kernelsOf(file).map(([, name, parameters]) => {
        return [name!, parameters!.split(',').map(letterOf).join('')];
      });
      assert.deepEqual(Object.fromEntries(declared), signatures);
    });

    it(`brings every header to ${file} once, and only headers that the compiler is given`, () => {
      const { text, headers } = readKernelSource(file);
      const reached = includesOf(text, headers);
      assert.deepEqual(reached, [...new Set(reached)]);
    });

    it(`names kernels of ${file} that all wait for the one before`, () => {
      const functions = functionsOf(readKernelSource(file));
      for (const [, name, , body] of kernelsOf(file)) assert.ok(waits(body!, functions), name);
    });
  }
});
