/**
 * What an adapter source is: it turns the id in a request into a folder on this machine. Knows nothing about what the files
 * mean, and nothing about who may load what afterwards.
 */

import type { AdapterSource } from '../base/adapter-reference.ts';

export interface ResolveOptions {
  /** The caller's token, sent to the source's own origin only. Undefined asks as anybody. */
  readonly apiToken?: string;
  /** A branch, tag or commit. Sources without revisions reject it instead of ignoring it. */
  readonly revision?: string;
  readonly signal: AbortSignal;
}

export interface ResolvedFolder {
  /** The id in the source's own spelling: without `@revision`, and relative where the caller wrote an absolute path. */
  readonly id: string;
  /** A real path without symbolic links in it. The files inside may be links. */
  readonly folder: string;
  /**
   * Files of the folder may only be read while their real path lies under this one; whoever opens them asks `checkContained`,
   * because a file can be replaced by a link at any time. Undefined where the server itself wrote the folder (the Hub cache).
   */
  readonly root: string | undefined;
  /** The commit that the folder holds; undefined where the source has no revisions. */
  readonly revision: string | undefined;
}

/** Rejects with a `LoraxError` of a 4xx status, or with the signal's reason. Messages name ids and files, never folders. */
export interface Source {
  readonly name: AdapterSource;
  resolve(id: string, options: ResolveOptions): Promise<ResolvedFolder>;
  /** Ids that can be named without asking anybody else; empty where the source cannot enumerate them. */
  list(signal: AbortSignal): Promise<readonly string[]>;
}

export type Sources = Readonly<Record<AdapterSource, Source>>;
