/** What the environment says about S3 beside the credentials, which the AWS SDK finds in its own chain. */

import { LoraxError } from '../base/errors.ts';
import type { Environment } from './derive.ts';

export interface S3Settings {
  /** Another S3 server than Amazon's. */
  readonly endpoint: string | undefined;
  /** Undefined where the SDK finds it in the profile. */
  readonly region: string | undefined;
  /** Bucket of ids that name none. */
  readonly modelBucket: string | undefined;
  /** Where in that bucket such ids begin; without slashes at its ends, and empty at the bucket's root. */
  readonly modelFolder: string;
}

/** For the reference page. */
export const S3_VARIABLES: Readonly<Record<string, string>> = {
  S3_ENDPOINT_URL: 'Address of another S3 server than Amazon’s; also AWS_ENDPOINT_URL_S3 and AWS_ENDPOINT_URL',
  R2_ACCOUNT_ID: 'Account of Cloudflare R2, whose address is then the endpoint; wins over S3_ENDPOINT_URL',
  AWS_ACCESS_KEY_ID:
    'With AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN, the key for S3; without it the AWS SDK looks for a profile (AWS_PROFILE), a web identity, a container’s or an instance’s role',
  AWS_REGION: 'Region of the buckets; also AWS_DEFAULT_REGION; with an endpoint us-east-1 where it is not given',
  PREDIBASE_MODEL_BUCKET: 'Bucket of s3 ids that do not begin with s3://, and of the source pbase',
  PREDIBASE_MODEL_FOLDER: 'Folder in that bucket in which such ids begin',
};

/** Throws OPTION_INVALID naming the variable. */
export function s3Settings(env: Environment): S3Settings {
  const endpoint = s3Endpoint(env);
  const isR2 = Boolean(env['R2_ACCOUNT_ID']);
  // Servers other than Amazon's take any region or the usual one, and requests cannot be signed without.
  const fallback = endpoint === undefined ? undefined : isR2 ? 'auto' : 'us-east-1';
  return {
    endpoint,
    region: env['AWS_REGION'] || env['AWS_DEFAULT_REGION'] || fallback,
    modelBucket: env['PREDIBASE_MODEL_BUCKET'] || undefined,
    modelFolder: (env['PREDIBASE_MODEL_FOLDER'] ?? '').replace(/^\/+|\/+$/g, ''),
  };
}

function s3Endpoint(env: Environment): string | undefined {
  const account = env['R2_ACCOUNT_ID'];
  if (account) {
    if (!/^[\w-]{1,63}$/.test(account)) refuse('R2_ACCOUNT_ID', 'must be an account’s id');
    return `https://${account}.r2.cloudflarestorage.com`;
  }
  for (const name of ['S3_ENDPOINT_URL', 'AWS_ENDPOINT_URL_S3', 'AWS_ENDPOINT_URL']) {
    const value = env[name];
    if (value) return checkedUrl(name, value);
  }
  return undefined;
}

/** As it stands, an http or https URL without a user or a query. Throws OPTION_INVALID naming the variable. */
export function checkedUrl(name: string, value: string): string {
  const url = URL.canParse(value) ? new URL(value) : undefined;
  const isPlain = url !== undefined && /^https?:$/.test(url.protocol) && url.username + url.password === '';
  if (!isPlain || url.search !== '' || url.hash !== '') {
    refuse(name, 'must be an http or https URL without a user or a query');
  }
  return value;
}

function refuse(name: string, reason: string): never {
  throw new LoraxError('OPTION_INVALID', { option: `${name} (environment)`, reason });
}
