/**
 * What an adapter source is: it turns the id in a request into a place (does it exist, may this caller read it, what does
 * it hold now), and a place into a folder on this machine. Knows nothing about what the files mean, and nothing about who
 * may load what afterwards.
 */

import type { AdapterSource } from '../base/adapter-reference.ts';

export interface LocateOptions {
  /** The caller's token, sent to the source's own origin only. Undefined asks as anybody. */
  readonly apiToken?: string;
  readonly signal: AbortSignal;
}

export interface ResolvedFolder {
  /** A real path without symbolic links in it. The files inside may be links. */
  readonly folder: string;
  /**
   * Files of the folder may only be read while their real path lies under this one; whoever opens them asks `checkContained`,
   * because a file can be replaced by a link at any time. Undefined where the server itself wrote the folder (a cache).
   */
  readonly root: string | undefined;
  /** What the server's own disk cache holds for it; 0 where the files are the operator's. */
  readonly byteLength: number;
  /** Until then the disk cache does not evict the files. Idempotent. */
  release(): void;
}

export interface FetchProgress {
  readonly file: string;
  /** Over all files that have to be fetched; what the cache already holds does not count. */
  readonly receivedBytes: number;
  readonly totalBytes: number;
}

export interface FetchOptions {
  readonly signal: AbortSignal;
  readonly onProgress?: ((progress: FetchProgress) => void) | undefined;
}

/** An adapter that exists and that the caller who asked may read. Valid for as long as the answer is remembered. */
export interface AdapterLocation {
  readonly source: AdapterSource;
  /** The id in the source's own spelling: without `@revision`, and relative where the caller wrote an absolute path. */
  readonly id: string;
  /** What the id stands for now: a commit, a hash of ETags. Undefined where the source has no revisions. */
  readonly revision: string | undefined;
  /** Brings what is missing to this machine, with the token of the caller who asked. At most one download per file. */
  fetch(options: FetchOptions): Promise<ResolvedFolder>;
}

/** Rejects with a `LoraxError` of a 4xx or 503 status, or with the signal's reason. Messages name ids and files, never folders. */
export interface Source {
  readonly name: AdapterSource;
  /** Asks every time; whoever calls often remembers the answer (`access.ts`). Moves no weights. */
  locate(id: string, options: LocateOptions): Promise<AdapterLocation>;
  /** Ids that can be named without asking anybody else; empty where the source cannot enumerate them. */
  list(signal: AbortSignal): Promise<readonly string[]>;
}

export type Sources = Readonly<Record<AdapterSource, Source>>;
