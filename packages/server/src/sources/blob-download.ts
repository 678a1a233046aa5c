/**
 * Brings one blob to disk: resumes what an earlier try left, checks size and hash, and gives the blob its name only when it
 * is whole. Knows nothing about who asks or where the bytes come from.
 */

import { mkdir, readdir, rename, stat } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';

import { countHandle } from '../base/handles.ts';
import { errorCode } from './containment.ts';
import { SourceFault } from './source-fault.ts';
import { ifPresent } from './if-present.ts';
import { IdleLimit } from './idle-limit.ts';
import { type ExpectedContent, PartialFile } from './partial-file.ts';
import { bytesOf, discard } from './response-bytes.ts';
import { type RetryPolicy, wait, withRetries } from './retry.ts';

/** A transfer that is silent for so long is cut and tried again. */
const IDLE_LIMIT_MS = 30_000;
/**
 * Whose partial file grows is waited for: one download of a file, also across processes that share a cache, Python's among
 * them. One that has not grown for so long is taken over. Should its owner still be alive, both write the same bytes to the
 * same places: a blob's name stands for its content, and files are never cut, only left for new ones.
 */
const ABANDONED_MS = 15_000;
const LOOK_INTERVAL_MS = 250;
/** A try that moved so much does not count as failed: a large file over a bad line still arrives. */
const PROGRESS_BYTES = 1 << 20;
const PARTIAL = /\.[0-9a-f]{8}\.incomplete$/;

export interface BlobDownload extends ExpectedContent {
  /** Where the blob belongs; its name stands for its content. */
  readonly path: string;
  /** Tells this process' partial files from others'. 8 hexadecimal digits. */
  readonly tag: string;
  readonly retries: RetryPolicy;
  /** Answers 206 from this byte on, or 200 with the whole file. */
  readonly open: (firstByte: number, signal: AbortSignal) => Promise<Response>;
  readonly onPosition: (bytes: number) => void;
}

/** Rejects with a `SourceFault` or the signal's reason; a partial file stays for the next try. */
export async function downloadBlob(blob: BlobDownload, signal: AbortSignal): Promise<void> {
  let movedBytes = 0;
  let position: number | undefined;
  const onPosition = (bytes: number): void => {
    movedBytes += position === undefined ? 0 : Math.max(0, bytes - position);
    position = bytes;
    blob.onPosition(bytes);
  };
  const attempt = async (): Promise<void> => {
    movedBytes = 0;
    position = undefined;
    await mkdir(dirname(blob.path), { recursive: true });
    const partial = await takePartial(blob, signal);
    if (partial === undefined) return;
    await transfer({ ...blob, onPosition }, partial, signal);
    if (!(await renamed(partial, blob.path)) && !(await isThere(blob))) {
      throw new SourceFault('temporary', `the partial file of \`${blob.name}\` was taken by another process`);
    }
  };
  countHandle('download', 1);
  try {
    await withRetries(blob.retries, signal, attempt, () => movedBytes >= PROGRESS_BYTES);
  } finally {
    countHandle('download', -1);
  }
}

/** One try: the file at `partial` grows to its full size and is checked. */
async function transfer(blob: BlobDownload, partial: string, signal: AbortSignal): Promise<void> {
  const file = await PartialFile.open(partial, blob);
  const limit = new IdleLimit(signal, IDLE_LIMIT_MS, blob.peer);
  try {
    if (file.position < blob.sizeBytes) await receive(blob, file, limit);
    await file.check();
  } finally {
    limit.dispose();
    await file.close();
  }
}

async function receive(blob: BlobDownload, file: PartialFile, limit: IdleLimit): Promise<void> {
  const response = await blob.open(file.position, limit.signal);
  if (response.status !== 206 && file.position > 0) await file.startOver();
  if (response.status === 416) {
    await discard(response);
    throw new SourceFault('temporary', `${blob.peer} would not continue \`${blob.name}\``);
  }
  if (firstByteOf(response) !== file.position) {
    await discard(response);
    throw new SourceFault('broken', `${blob.peer} sent another part of \`${blob.name}\` than was asked for`);
  }
  for await (const chunk of bytesOf(response, blob.peer)) {
    limit.touch();
    await file.write(chunk);
    blob.onPosition(file.position);
  }
}

/** 0 for a whole file; undefined when a partial answer does not say what it is. */
function firstByteOf(response: Response): number | undefined {
  if (response.status !== 206) return 0;
  const first = /^bytes (\d+)-/.exec(response.headers.get('content-range') ?? '')?.[1];
  return first === undefined ? undefined : Number(first);
}

/**
 * The path of this process' partial file for the blob, holding what an earlier try or a dead process left. Undefined when
 * another process has brought the blob.
 */
async function takePartial(blob: BlobDownload, signal: AbortSignal): Promise<string | undefined> {
  const own = `${blob.path}.${blob.tag}.incomplete`;
  const sizes = new Map<string, { bytes: number; sinceMs: number }>();
  for (;;) {
    if (await isThere(blob)) return undefined;
    const partials = await partialsOf(blob);
    if (partials.length === 0 || partials.some(({ path }) => path === own)) return own;
    for (const { path, bytes, mtimeMs } of partials) {
      const known = sizes.get(path);
      const sinceMs = known?.bytes === bytes ? known.sinceMs : performance.now();
      sizes.set(path, { bytes, sinceMs });
      // The clock of a file's time may be another machine's, so that what is seen here counts too.
      const isIdle = Date.now() - mtimeMs > ABANDONED_MS || performance.now() - sinceMs > ABANDONED_MS;
      if (isIdle && (await renamed(path, own))) return own;
    }
    await wait(LOOK_INTERVAL_MS, signal);
  }
}

async function isThere({ path, sizeBytes }: BlobDownload): Promise<boolean> {
  return (await ifPresent(stat(path)))?.size === sizeBytes;
}

async function partialsOf({ path }: BlobDownload): Promise<{ path: string; bytes: number; mtimeMs: number }[]> {
  const names = await readdir(dirname(path));
  const own = names.filter((name) => name.startsWith(`${basename(path)}.`) && PARTIAL.test(name));
  const found = await Promise.all(
    own.map(async (name) => {
      const place = join(dirname(path), name);
      const seen = await ifPresent(stat(place));
      return seen === undefined ? [] : [{ path: place, bytes: seen.size, mtimeMs: seen.mtimeMs }];
    }),
  );
  return found.flat();
}

async function renamed(from: string, to: string): Promise<boolean> {
  try {
    await rename(from, to);
    return true;
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return false;
    throw error;
  }
}
