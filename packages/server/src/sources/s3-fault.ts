/**
 * What an error of the AWS SDK means. Its messages quote hosts, keys and the signed request, so that nothing of them is kept
 * but the status and S3's own word for it (`NoSuchBucket`).
 */

import { SourceFault, networkFault, retryAfterMs } from './source-fault.ts';

/** How messages call it. */
export const S3 = 'the S3 server';

interface SdkError {
  readonly name?: unknown;
  readonly code?: unknown;
  readonly $metadata?: { readonly httpStatusCode?: number };
  readonly $response?: { readonly headers?: Readonly<Record<string, string>> };
}

export function s3Fault(error: unknown): SourceFault {
  if (error instanceof SourceFault) return error;
  const { name, code, $metadata, $response }: SdkError = error instanceof Error ? error : {};
  const status = $metadata?.httpStatusCode;
  if (status !== undefined && status >= 300) return statusFault(status, wordOf(name), $response?.headers);
  if (name === 'CredentialsProviderError') {
    return new SourceFault('broken', 'this server has no key for S3 (AWS_ACCESS_KEY_ID, a profile or a role)');
  }
  if (error instanceof Error && error.message === 'Region is missing') {
    return new SourceFault('broken', 'this server knows no region for S3 (AWS_REGION)');
  }
  if (typeof code === 'string' || name === 'TimeoutError' || name === 'AbortError') return networkFault(error, S3);
  return new SourceFault('broken', `${S3} gave an answer that cannot be used${wordOf(name)}`);
}

function statusFault(status: number, word: string, headers: Readonly<Record<string, string>> = {}): SourceFault {
  const reason = `${S3} answered with status ${status}${word}`;
  if (status === 401 || status === 403) return new SourceFault('forbidden', reason);
  if (status === 404 || status === 410) return new SourceFault('missing', reason);
  if (status === 412) return new SourceFault('broken', 'a file was replaced while the adapter was being fetched');
  if (status < 400 || word.includes('AuthorizationHeaderMalformed')) {
    return new SourceFault('broken', `${reason}: the bucket is in another region than AWS_REGION says`);
  }
  if (status === 408 || status === 429 || status >= 500) {
    return new SourceFault('temporary', reason, retryAfterMs(headers['retry-after']));
  }
  return new SourceFault('broken', reason);
}

function wordOf(name: unknown): string {
  return typeof name === 'string' && /^[A-Z][A-Za-z]{2,63}$/.test(name) && !/^(?:Unknown|Error)$/.test(name)
    ? ` (${name})`
    : '';
}
