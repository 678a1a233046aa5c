/**
 * What can go wrong between this server and what stands behind a source, before it is told to a caller. Reasons name the
 * other end by a word (`the Hub`) and hold no tokens, hosts or URLs.
 */

import type { AdapterSource } from '../base/adapter-reference.ts';
import { LoraxError } from '../base/errors.ts';

export type FaultKind =
  /** The token or key, or its absence, does not open this place. */
  | 'forbidden'
  /** No such place, revision or file. */
  | 'missing'
  /** May work later: no connection, 429, 5xx, a cut or damaged transfer. */
  | 'temporary'
  /** Answered in a way that cannot be used, or must not be followed. */
  | 'broken';

export class SourceFault extends Error {
  readonly kind: FaultKind;
  /** What the other end asked to wait. */
  readonly retryAfterMs: number | undefined;

  constructor(kind: FaultKind, reason: string, retryAfterMs?: number) {
    super(reason);
    this.name = 'SourceFault';
    this.kind = kind;
    this.retryAfterMs = retryAfterMs;
  }
}

export function adapterError(error: unknown, adapterId: string, source: AdapterSource): unknown {
  if (!(error instanceof SourceFault)) return error;
  if (error.kind === 'forbidden') return new LoraxError('ADAPTER_FORBIDDEN', { adapterId });
  if (error.kind === 'missing') return new LoraxError('ADAPTER_NOT_FOUND', { adapterId, source });
  return new LoraxError('ADAPTER_UNREACHABLE', { adapterId, reason: error.message });
}

export function modelError(error: unknown, modelId: string): unknown {
  if (!(error instanceof SourceFault)) return error;
  const hint = error.kind === 'forbidden' ? '; a token that opens it can be set as HF_TOKEN' : '';
  return new LoraxError('MODEL_NOT_FOUND', { modelId, reason: `${error.message}${hint}` });
}

/** The fault that an answer's status stands for. */
export function statusFault(response: Response, peer: string): SourceFault {
  const { status } = response;
  const reason = `${peer} answered with status ${status}`;
  if (status === 401 || status === 403) return new SourceFault('forbidden', reason);
  if (status === 404 || status === 410) return new SourceFault('missing', reason);
  if (status === 408 || status === 429 || status >= 500) {
    return new SourceFault('temporary', reason, retryAfterMs(response.headers.get('retry-after')));
  }
  return new SourceFault('broken', reason);
}

/** The system's code (`ECONNREFUSED`) is the useful part of a failed `fetch`; its message may quote the URL. */
export function networkFault(error: unknown, peer: string): SourceFault {
  if (error instanceof SourceFault) return error;
  const cause: unknown = error instanceof Error ? error.cause : undefined;
  if (cause instanceof SourceFault) return cause;
  const code = systemCode(error) ?? systemCode(cause);
  return new SourceFault('temporary', `the connection to ${peer} failed${code === undefined ? '' : ` (${code})`}`);
}

function systemCode(error: unknown): string | undefined {
  if (typeof error !== 'object' || error === null || !('code' in error)) return undefined;
  return typeof error.code === 'string' && /^[A-Z][A-Z0-9_]*$/.test(error.code) ? error.code : undefined;
}

/** Seconds or a date, as HTTP allows both. */
export function retryAfterMs(header: string | null | undefined): number | undefined {
  if (header == null) return undefined;
  const ms = /^\d+$/.test(header) ? Number(header) * 1000 : Date.parse(header) - Date.now();
  return Number.isFinite(ms) ? Math.max(0, ms) : undefined;
}
