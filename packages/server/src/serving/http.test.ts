import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { LoraxError } from '../base/errors.ts';
import type { Generation, Generator } from '../scheduler/request.ts';
import type { Engine } from './engine.ts';
import { checkHealth } from './http.ts';

/** An engine of which the last step failed, and whose next one does as `generate` says. */
function failedEngine(generate: Generator['generate']): Pick<Engine, 'scheduler' | 'generator'> {
  return { scheduler: { lastFailure: new Error('broken') } as Engine['scheduler'], generator: { generate } };
}

const answering: Generator['generate'] = async () => {
  async function* events(): Generation['events'] {
    yield { kind: 'end' } as never;
  }
  return { events: events() } as unknown as Generation;
};

describe('health after a failed step', () => {
  it('is asked of the model itself, and is back when one token comes', async () => {
    await checkHealth(failedEngine(answering));
  });

  it('is refused with 503 while the model fails', async () => {
    const failing: Generator['generate'] = () =>
      Promise.reject(new LoraxError('GENERATION', { reason: 'still broken' }));
    await assert.rejects(
      checkHealth(failedEngine(failing)),
      (error: unknown) => error instanceof LoraxError && error.code === 'UNHEALTHY' && error.spec.status === 503,
    );
  });
});
