import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { checkBase, type BaseCheckRequest, type NamedBase } from './base-check.ts';

const UNKNOWN: NamedBase = { name: undefined, modelClass: undefined, modelLibrary: undefined };
const LLAMA_CLASS = { modelClass: 'LlamaForCausalLM', modelLibrary: 'transformers.models.llama.modeling_llama' };

function request(base: Partial<NamedBase>, more: Partial<BaseCheckRequest> = {}): BaseCheckRequest {
  return {
    adapterId: 'id',
    base: { ...UNKNOWN, ...base },
    served: { id: 'org/llama', architecture: 'LlamaForCausalLM' },
    signal: new AbortController().signal,
    ...more,
  };
}

const resolve = (...architectures: string[]) => ({ resolve: () => Promise.resolve({ architectures }) });

describe('the base model check', () => {
  it('is sure of equal names, without asking anyone', async () => {
    const asks = { resolve: () => Promise.reject(new Error('asked')) };
    assert.equal((await checkBase(request({ name: 'org/llama' }, asks))).verdict, 'same');
  });

  it('finds other names compatible by class or by configuration', async () => {
    assert.equal((await checkBase(request({ name: 'org/other', ...LLAMA_CLASS }))).verdict, 'compatible');
    assert.equal((await checkBase(request({ ...LLAMA_CLASS, modelClass: 'LlamaModel' }))).verdict, 'compatible');
    assert.equal((await checkBase(request({ name: 'org/other' }, resolve('LlamaForCausalLM')))).verdict, 'compatible');
  });

  it('refuses another architecture, naming both', async () => {
    const byConfig = checkBase(request({ name: 'org/qwen' }, resolve('Qwen2ForCausalLM')));
    await assert.rejects(
      byConfig,
      /trained on Qwen2ForCausalLM \(org\/qwen\), the model served is LlamaForCausalLM \(org\/llama\)/,
    );
    const byClass = checkBase(request({ ...LLAMA_CLASS, modelClass: 'MistralForCausalLM' }));
    await assert.rejects(byClass, /trained on MistralForCausalLM, the model served is LlamaForCausalLM/);
  });

  it('leaves the decision to the shapes where nothing can be known', async () => {
    const failing = { resolve: () => Promise.reject(new Error('offline')) };
    const empty = { resolve: () => Promise.resolve(undefined) };
    const wrapped = { name: 'org/other', modelClass: 'OptimizedModule', modelLibrary: 'torch._dynamo' };
    for (const asked of [
      request({}),
      request({ name: 'x' }),
      request({ name: 'x' }, failing),
      request({ name: 'x' }, empty),
    ]) {
      assert.equal((await checkBase(asked)).verdict, 'unverified');
    }
    assert.equal((await checkBase(request(wrapped))).verdict, 'unverified');
  });

  it('tells of a model in a folder no more than the folder’s name', async () => {
    const served = { id: '/srv/secret/llama', architecture: 'LlamaForCausalLM' };
    await assert.rejects(
      checkBase(request({ name: 'org/qwen' }, { served, ...resolve('Qwen2ForCausalLM') })),
      (error: Error) => {
        assert.match(error.message, /\(llama\)/);
        return !error.message.includes('secret');
      },
    );
  });

  it('ends with the abort, not with a verdict', async () => {
    const controller = new AbortController();
    const asks = (_name: string, signal: AbortSignal): Promise<undefined> =>
      new Promise((_, reject) => signal.addEventListener('abort', () => reject(new Error('aborted')), { once: true }));
    const check = checkBase(request({ name: 'x' }, { resolve: asks, signal: controller.signal }));
    controller.abort(new Error('gone'));
    await assert.rejects(check, /gone/);
  });
});
