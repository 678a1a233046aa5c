/**
 * Places in S3 and the ids that name them: `s3://bucket/prefix`, `bucket/prefix`, or a prefix alone where the operator set a
 * bucket. One place has one spelling, and two places never share one.
 */

import { invalidField } from '../base/errors.ts';
import { adapterIdFault, checkAdapterId } from './adapter-id.ts';

export interface S3Place {
  readonly bucket: string;
  /** Without a slash at its ends; empty is the bucket's root. */
  readonly prefix: string;
}

/** Where ids that do not begin with `s3://` belong. */
export interface S3Defaults {
  /** Undefined: such an id begins with its bucket. */
  readonly modelBucket: string | undefined;
  readonly modelFolder: string;
}

const SCHEME = 's3://';
/** S3 takes 1024 bytes for a whole key; this leaves room for a file's name. */
const MAX_PREFIX_BYTES = 896;
const BUCKET = /^\w[\w.-]{1,61}\w$/;
/** The SDK would send names of these forms to other hosts than the endpoint. */
const ELSEWHERE = /--(?:x|op)-s3$/;

/** Throws VALIDATION on `adapter_id`. */
export function parseS3Id(id: string, { modelBucket, modelFolder }: S3Defaults): S3Place {
  checkAdapterId(id);
  const folder = modelFolder === '' ? '' : `${modelFolder}/`;
  const relative = modelBucket === undefined ? id : `${modelBucket}/${folder}${id}`;
  const path = id.startsWith(SCHEME) ? id.slice(SCHEME.length) : relative;
  const [bucket = '', ...parts] = path.replace(/\/$/, '').split('/');
  const prefix = parts.join('/');
  const fault = bucketFault(bucket) ?? prefixFault(prefix, parts);
  if (fault !== undefined) throw invalidField('adapter_id', fault);
  return { bucket, prefix };
}

/** The shortest id that means this place. */
export function s3IdOf({ bucket, prefix }: S3Place, { modelBucket, modelFolder }: S3Defaults): string {
  const path = prefix === '' ? bucket : `${bucket}/${prefix}`;
  if (modelBucket === undefined) return path;
  const start = modelFolder === '' ? '' : `${modelFolder}/`;
  const relative = bucket === modelBucket && prefix.startsWith(start) ? prefix.slice(start.length) : '';
  return adapterIdFault(relative) === undefined ? relative : SCHEME + path;
}

function bucketFault(bucket: string): string | undefined {
  if (!BUCKET.test(bucket) || bucket.includes('..')) {
    return 'must be `s3://bucket/prefix` or `bucket/prefix`, with a bucket’s name of 3 to 63 letters, digits, `.`, `_` or `-`';
  }
  return ELSEWHERE.test(bucket) ? 'names a directory bucket or an outpost, which are not served' : undefined;
}

function prefixFault(prefix: string, parts: readonly string[]): string | undefined {
  if (Buffer.byteLength(prefix) > MAX_PREFIX_BYTES) return `must not be longer than ${MAX_PREFIX_BYTES} bytes`;
  // Proxies on the way would resolve such parts, to another place than the one that was asked for.
  const isPlain = parts.every((part) => part !== '' && part !== '.' && part !== '..');
  return isPlain ? undefined : 'must not hold empty parts, `.` or `..`';
}
