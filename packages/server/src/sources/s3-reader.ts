/**
 * The three S3 requests that reading takes: what lies under a prefix, what is known about an object, and its bytes. The AWS
 * SDK is loaded with the first of them. Knows nothing about adapters or the cache; every failure is a `SourceFault`.
 */

import { Readable, addAbortSignal } from 'node:stream';
import type { ReadableStream } from 'node:stream/web';

import type * as Sdk from '@aws-sdk/client-s3';

import { untilAborted } from '../base/until-aborted.ts';
import { IdleLimit } from './idle-limit.ts';
import type { Digest } from './partial-file.ts';
import { type RetryPolicy, withRetries } from './retry.ts';
import { S3, s3Fault } from './s3-fault.ts';
import type { S3Place } from './s3-place.ts';
import { SourceFault } from './source-fault.ts';

const METADATA_LIMIT_MS = 15_000;
/** 10,000 names at S3's own page size; more is no adapter. */
const MAX_PAGES = 10;

export interface S3Object {
  /** Below the prefix, as the server wrote it: not to be trusted as a path here. */
  readonly name: string;
  /** As the server wrote it, in quotes. */
  readonly etag: string;
  readonly sizeBytes: number;
}

export interface S3Listing {
  readonly objects: readonly S3Object[];
  /** False where more lies under the prefix than was looked at. */
  readonly isComplete: boolean;
}

export interface S3Connection {
  /** Amazon's own where undefined. */
  readonly endpoint: string | undefined;
  readonly region: string | undefined;
  /** The SDK's own chain (environment, profile, web identity, container, instance) where undefined. */
  readonly credentials?: S3Key | undefined;
}

export interface S3Key {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
}

interface Connected {
  readonly sdk: typeof Sdk;
  readonly client: Sdk.S3Client;
}

export class S3Reader {
  readonly #connection: S3Connection;
  readonly #retries: RetryPolicy;
  #connected: Promise<Connected> | undefined;

  constructor(connection: S3Connection, retries: RetryPolicy) {
    this.#connection = connection;
    this.#retries = retries;
  }

  /** The objects right under the prefix; those in folders below are passed over. */
  async list({ bucket, prefix }: S3Place, signal: AbortSignal): Promise<S3Listing> {
    const start = prefix === '' ? '' : `${prefix}/`;
    const objects: S3Object[] = [];
    let next: string | undefined;
    for (let page = 0; page < MAX_PAGES; page++) {
      const input = { Bucket: bucket, Prefix: start, Delimiter: '/', ContinuationToken: next };
      const answer = await this.#ask(signal, ({ sdk, client }, abortSignal) =>
        client.send(new sdk.ListObjectsV2Command(input), { abortSignal }),
      );
      for (const { Key, ETag, Size } of answer.Contents ?? []) objects.push(listed(start, Key, ETag, Size));
      next = answer.NextContinuationToken;
      if (answer.IsTruncated !== true) return { objects, isComplete: true };
      if (next === undefined) throw new SourceFault('broken', `${S3} gave a listing without its end`);
    }
    return { objects, isComplete: false };
  }

  /** What the server says about an object's content, beside its size. Rejects where it is no longer the one that was listed. */
  async digest(place: S3Place, { name, etag }: S3Object, signal: AbortSignal): Promise<Digest | undefined> {
    const input = { Bucket: place.bucket, Key: keyOf(place, name), IfMatch: etag, ChecksumMode: 'ENABLED' as const };
    const head = await this.#ask(signal, ({ sdk, client }, abortSignal) =>
      client.send(new sdk.HeadObjectCommand(input), { abortSignal }),
    );
    return digestOf(etag, head);
  }

  /**
   * An object's bytes from `firstByte` on: the answer is 206, 200 with the whole object, or 416 where it ends before. Tried
   * once; the signal must bound it in time, and the caller reads or cancels the body.
   */
  async open(place: S3Place, { name, etag }: S3Object, firstByte: number, signal: AbortSignal): Promise<Response> {
    const range = firstByte > 0 ? { Range: `bytes=${firstByte}-` } : {};
    const input = { Bucket: place.bucket, Key: keyOf(place, name), IfMatch: etag, ...range };
    const { sdk, client } = await this.#connect();
    try {
      const work = client.send(new sdk.GetObjectCommand(input), { abortSignal: signal });
      const { Body, ContentRange, $metadata } = await untilAborted(work, signal);
      return asResponse(Body, $metadata.httpStatusCode ?? 200, ContentRange, signal);
    } catch (error) {
      signal.throwIfAborted();
      if (isRangeError(error)) return new Response(null, { status: 416 });
      throw s3Fault(error);
    }
  }

  /** Waiting ends with the signal even while the SDK still looks for credentials. */
  #ask<T>(signal: AbortSignal, work: (connected: Connected, signal: AbortSignal) => Promise<T>): Promise<T> {
    return withRetries(this.#retries, signal, async () => {
      const limit = new IdleLimit(signal, METADATA_LIMIT_MS, S3);
      try {
        return await untilAborted(work(await this.#connect(), limit.signal), limit.signal);
      } catch (error) {
        limit.signal.throwIfAborted();
        throw s3Fault(error);
      } finally {
        limit.dispose();
      }
    });
  }

  #connect(): Promise<Connected> {
    this.#connected ??= connect(this.#connection);
    return this.#connected;
  }
}

async function connect({ endpoint, region, credentials }: S3Connection): Promise<Connected> {
  const sdk = await import('@aws-sdk/client-s3');
  const client = new sdk.S3Client({
    ...(region === undefined ? {} : { region }),
    ...(credentials === undefined ? {} : { credentials }),
    ...(endpoint === undefined ? {} : { endpoint, forcePathStyle: true }),
    // Where a request goes is the operator's choice; a redirect to another region's host is an error that says so.
    followRegionRedirects: false,
    // Our own retries count progress and honour the caller's signal.
    maxAttempts: 1,
    // Content is checked where it is written, also over several ranges.
    responseChecksumValidation: 'WHEN_REQUIRED',
  });
  return { sdk, client };
}

function keyOf({ prefix }: S3Place, name: string): string {
  return prefix === '' ? name : `${prefix}/${name}`;
}

function listed(start: string, key: string | undefined, etag: string | undefined, size: number | undefined): S3Object {
  if (key?.startsWith(start) !== true || !etag || etag.length > 256 || !Number.isSafeInteger(size) || size! < 0) {
    throw new SourceFault('broken', `${S3} listed an object without a name under the prefix, an ETag or a size`);
  }
  return { name: key.slice(start.length), etag, sizeBytes: size! };
}

/** Whole-object checksums only: a composite one is a hash over parts' hashes. An ETag is an MD5 where no key of KMS or the caller's encrypts. */
function digestOf(etag: string, head: Sdk.HeadObjectCommandOutput): Digest | undefined {
  const { ChecksumSHA256 = '', ChecksumType, ServerSideEncryption = 'AES256', SSECustomerAlgorithm } = head;
  if (ChecksumType !== 'COMPOSITE' && /^[A-Za-z0-9+/]{43}=$/.test(ChecksumSHA256)) {
    return { algorithm: 'sha256', hex: Buffer.from(ChecksumSHA256, 'base64').toString('hex') };
  }
  const [, md5] = /^"?([0-9a-f]{32})"?$/.exec(etag) ?? [];
  const isPlain = ServerSideEncryption === 'AES256' && SSECustomerAlgorithm === undefined;
  return md5 === undefined || !isPlain ? undefined : { algorithm: 'md5', hex: md5 };
}

function asResponse(body: unknown, status: number, range: string | undefined, signal: AbortSignal): Response {
  if (!(body instanceof Readable)) throw new SourceFault('broken', `${S3} sent an object without a body`);
  addAbortSignal(signal, body);
  const headers: Record<string, string> = range === undefined ? {} : { 'content-range': range };
  return new Response(Readable.toWeb(body) as ReadableStream<Uint8Array>, { status, headers });
}

function isRangeError(error: unknown): boolean {
  return error instanceof Error && error.name === 'InvalidRange';
}
