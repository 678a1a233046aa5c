/**
 * Predibase as a source: the gateway says with the caller's token where in S3 an adapter lies, and the operator's key for S3
 * reads it there. Asks the gateway every time, so that what one caller may use does not open it to the next.
 */

import { LoraxError, invalidField } from '../base/errors.ts';
import { checkToken, isToken } from './adapter-id.ts';
import { PbaseGateway } from './pbase-gateway.ts';
import { parsePbaseId } from './pbase-id.ts';
import { DEFAULT_RETRIES, type RetryPolicy } from './retry.ts';
import type { S3Source } from './s3.ts';
import { SourceFault, adapterError } from './source-fault.ts';
import type { AdapterLocation, LocateOptions, Source } from './source.ts';

export interface PbaseOptions {
  readonly gateway: string;
  /** For requests that bring none. */
  readonly token: string | undefined;
  readonly s3: S3Source;
  readonly retries?: RetryPolicy;
}

/** Throws OPTION_INVALID when the token cannot be sent. */
export function openPbase(options: PbaseOptions): Source {
  if (options.token !== undefined && !isToken(options.token)) {
    const reason = 'must be visible ASCII characters only';
    throw new LoraxError('OPTION_INVALID', { option: '--predibase-api-token', reason });
  }
  return new Pbase(options);
}

class Pbase implements Source {
  readonly name = 'pbase';
  readonly #gateway: PbaseGateway;
  readonly #token: string | undefined;
  readonly #s3: S3Source;

  constructor({ gateway, token, s3, retries = DEFAULT_RETRIES }: PbaseOptions) {
    this.#gateway = new PbaseGateway(gateway, retries);
    this.#token = token;
    this.#s3 = s3;
  }

  async locate(adapterId: string, { apiToken, signal }: LocateOptions): Promise<AdapterLocation> {
    signal.throwIfAborted();
    const id = parsePbaseId(adapterId);
    if (apiToken !== undefined) checkToken(apiToken);
    if (this.#s3.modelBucket === undefined) {
      throw invalidField(
        'adapter_source',
        '`pbase` needs the environment variable PREDIBASE_MODEL_BUCKET on this server',
      );
    }
    try {
      const path = await this.#gateway.pathOf(id, { token: apiToken ?? this.#token, signal });
      return await this.#locatePath(path, adapterId, signal);
    } catch (error) {
      throw adapterError(error, adapterId, 'pbase');
    }
  }

  /** The gateway knows more adapters than anybody would list, and tells them to nobody without a token. */
  async list(): Promise<readonly string[]> {
    return [];
  }

  async #locatePath(path: string, id: string, signal: AbortSignal): Promise<AdapterLocation> {
    try {
      return await this.#s3.locateFor(path, { source: 'pbase', id }, signal);
    } catch (error) {
      // The caller named the adapter, not the path.
      if (!(error instanceof LoraxError) || error.code !== 'VALIDATION') throw error;
      throw new SourceFault('broken', 'the Predibase gateway named a place that S3 cannot have');
    }
  }
}
