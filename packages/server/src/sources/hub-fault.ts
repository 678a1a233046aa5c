/** What can go wrong between this server and the Hub, before it is told to a caller. Reasons hold no tokens and no URLs. */

import { LoraxError } from '../base/errors.ts';

export type FaultKind =
  /** The token, or its absence, does not open this repository. */
  | 'forbidden'
  /** No such repository, revision or file. */
  | 'missing'
  /** May work later: no connection, 429, 5xx, a cut or damaged transfer. */
  | 'temporary'
  /** Answered in a way that cannot be used, or must not be followed. */
  | 'broken';

export class HubFault extends Error {
  readonly kind: FaultKind;
  /** What the Hub asked to wait. */
  readonly retryAfterMs: number | undefined;

  constructor(kind: FaultKind, reason: string, retryAfterMs?: number) {
    super(reason);
    this.name = 'HubFault';
    this.kind = kind;
    this.retryAfterMs = retryAfterMs;
  }
}

export function adapterError(error: unknown, adapterId: string): unknown {
  if (!(error instanceof HubFault)) return error;
  if (error.kind === 'forbidden') return new LoraxError('ADAPTER_FORBIDDEN', { adapterId });
  if (error.kind === 'missing') return new LoraxError('ADAPTER_NOT_FOUND', { adapterId, source: 'hub' });
  return new LoraxError('ADAPTER_UNREACHABLE', { adapterId, reason: error.message });
}

export function modelError(error: unknown, modelId: string): unknown {
  if (!(error instanceof HubFault)) return error;
  const hint = error.kind === 'forbidden' ? '; a token that opens it can be set as HF_TOKEN' : '';
  return new LoraxError('MODEL_NOT_FOUND', { modelId, reason: `${error.message}${hint}` });
}

/** The fault that an answer's status stands for. */
export function statusFault(response: Response): HubFault {
  const { status } = response;
  const reason = `the Hub answered with status ${status}`;
  if (status === 401 || status === 403) return new HubFault('forbidden', reason);
  if (status === 404 || status === 410) return new HubFault('missing', reason);
  if (status === 408 || status === 429 || status >= 500) {
    return new HubFault('temporary', reason, retryAfterMs(response.headers.get('retry-after')));
  }
  return new HubFault('broken', reason);
}

/** The system's code (`ECONNREFUSED`) is the useful part of a failed `fetch`; its message may quote the URL. */
export function networkFault(error: unknown): HubFault {
  if (error instanceof HubFault) return error;
  const cause: unknown = error instanceof Error ? error.cause : undefined;
  const code = typeof cause === 'object' && cause !== null && 'code' in cause ? ` (${String(cause.code)})` : '';
  return new HubFault('temporary', `the connection to the Hub failed${code}`);
}

/** Seconds or a date, as HTTP allows both. */
function retryAfterMs(header: string | null): number | undefined {
  if (header === null) return undefined;
  const ms = /^\d+$/.test(header) ? Number(header) * 1000 : Date.parse(header) - Date.now();
  return Number.isFinite(ms) ? Math.max(0, ms) : undefined;
}
