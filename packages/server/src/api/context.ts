/** What every route handler is given: the model, the metrics and the log. */

import type { Metrics } from '../telemetry/metrics.ts';
import type { Keyring } from './keys.ts';
import type { Serving } from './serving.ts';

export type ApiMetrics = Pick<
  Metrics,
  | 'registry'
  | 'requestCount'
  | 'requestSuccess'
  | 'requestFailure'
  | 'requestDuration'
  | 'requestValidationDuration'
  | 'requestQueueDuration'
  | 'requestInferenceDuration'
  | 'requestMeanTimePerTokenDuration'
  | 'requestGeneratedTokens'
  | 'requestInputLength'
  | 'requestMaxNewTokens'
  | 'requestSkippedTokens'
>;

/** As pino's. */
export interface ApiLog {
  debug(fields: object, message: string): void;
  error(fields: object, message: string): void;
}

export interface ApiContext {
  readonly serving: Serving;
  readonly metrics: ApiMetrics;
  readonly log: ApiLog;
  readonly keys: Keyring;
  /** The adapter routes need no admin key. */
  readonly adapterApi: boolean;
  /** Silence on a stream after which a comment is sent, so that proxies keep the connection. */
  readonly keepAliveMs: number;
}
