/**
 * A stand-in for an S3 server in tests that must run without one: listings in pages, heads, ranges and conditions over
 * objects in memory. Checks no signature and knows no errors but the usual two; `swift-server.ts` starts a real one.
 */

import { createHash } from 'node:crypto';
import { type IncomingMessage, type Server, type ServerResponse, createServer } from 'node:http';
import type { AddressInfo } from 'node:net';

import type { S3Backend } from './s3-setting.ts';

export class FakeS3 implements S3Backend {
  readonly credentials = { accessKeyId: 'anybody', secretAccessKey: 'anything' };
  readonly #buckets = new Map<string, Map<string, Buffer>>();
  readonly #server: Server;

  private constructor() {
    this.#server = createServer((request, response) => this.#answer(request, response));
  }

  static async start(): Promise<FakeS3> {
    const fake = new FakeS3();
    await new Promise<void>((resolve) => fake.#server.listen(0, '127.0.0.1', resolve));
    return fake;
  }

  get endpoint(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  async put(bucket: string, key: string, content: string | Uint8Array): Promise<void> {
    const objects = this.#buckets.get(bucket) ?? new Map<string, Buffer>();
    this.#buckets.set(bucket, objects.set(key, Buffer.from(content)));
  }

  async remove(bucket: string, key: string): Promise<void> {
    this.#buckets.get(bucket)?.delete(key);
  }

  async stop(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  #answer(request: IncomingMessage, response: ServerResponse): void {
    const url = new URL(request.url ?? '', 'http://s3');
    const [, bucket = '', key = ''] = /^\/([^/]+)\/?(.*)$/.exec(url.pathname) ?? [];
    const objects = this.#buckets.get(bucket);
    const content = objects?.get(decodeURIComponent(key));
    if (objects === undefined) sendError(response, 404, 'NoSuchBucket');
    else if (key === '') sendListing(objects, url.searchParams, response);
    else if (content === undefined) sendError(response, 404, 'NoSuchKey');
    else sendObject(content, request, response);
  }
}

function sendListing(objects: ReadonlyMap<string, Buffer>, query: URLSearchParams, response: ServerResponse): void {
  const prefix = query.get('prefix') ?? '';
  const after = query.get('continuation-token') ?? '';
  const direct = [...objects.keys()].filter((key) => key.startsWith(prefix) && !key.slice(prefix.length).includes('/'));
  const left = direct.toSorted().filter((key) => key > after);
  const page = left.slice(0, 1000);
  const contents = page.map((key) => {
    const content = objects.get(key) ?? Buffer.alloc(0);
    return `<Contents>${tag('Key', key)}${tag('ETag', etagOf(content))}${tag('Size', String(content.length))}</Contents>`;
  });
  const isTruncated = left.length > page.length;
  const next = isTruncated ? tag('NextContinuationToken', page.at(-1) ?? '') : '';
  sendXml(
    response,
    200,
    `<ListBucketResult>${tag('IsTruncated', String(isTruncated))}${next}${contents.join('')}</ListBucketResult>`,
  );
}

function sendObject(content: Buffer, request: IncomingMessage, response: ServerResponse): void {
  const etag = etagOf(content);
  const condition = request.headers['if-match'];
  const range = /^bytes=(\d+)-$/.exec(request.headers.range ?? '');
  const first = Number(range?.[1] ?? 0);
  if (condition !== undefined && condition !== etag) return sendError(response, 412, 'PreconditionFailed');
  if (range && first >= content.length) return sendError(response, 416, 'InvalidRange');
  response.setHeader('etag', etag);
  response.setHeader('content-length', content.length - first);
  if (range) response.setHeader('content-range', `bytes ${first}-${content.length - 1}/${content.length}`);
  response.writeHead(range ? 206 : 200).end(request.method === 'HEAD' ? undefined : content.subarray(first));
}

function sendError(response: ServerResponse, status: number, code: string): void {
  sendXml(response, status, `<Error>${tag('Code', code)}${tag('Message', 'the stand-in says no')}</Error>`);
}

function sendXml(response: ServerResponse, status: number, xml: string): void {
  response.writeHead(status, { 'content-type': 'application/xml' }).end(`<?xml version="1.0"?>${xml}`);
}

function tag(name: string, text: string): string {
  return `<${name}>${text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('"', '&quot;')}</${name}>`;
}

function etagOf(content: Buffer): string {
  return `"${createHash('md5').update(content).digest('hex')}"`;
}
