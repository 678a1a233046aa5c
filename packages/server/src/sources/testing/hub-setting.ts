/** What the Hub's tests share: a fake Hub with an empty cache, adapters to publish, and looks into the cache. */

import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import type { TestContext } from 'node:test';

import { LoraxError } from '../../base/errors.ts';
import { type Hub, type HubOptions, openHub } from '../hub.ts';
import type { LocateOptions } from '../source.ts';
import { ADAPTER_FILES, type Found, resolveWith } from './conformance.ts';
import { FakeHub } from './fake-hub.ts';
import { temporaryFolder } from './temporary-folder.ts';

export const never: AbortSignal = new AbortController().signal;
export const QUICK = { attemptCount: 3, firstPauseMs: 1 };
export const WEIGHTS = 'adapter_model.safetensors';
/** The request for the bytes of large files. */
export const ON_WEIGHTS = /^GET \/[0-9a-f]{64}/;

export interface HubSetting {
  readonly fake: FakeHub;
  readonly cacheDir: string;
  readonly hub: Hub;
  /** Another client of the same Hub and cache. */
  readonly open: (options?: Partial<HubOptions>) => Hub;
}

export async function setUpHub(context: TestContext): Promise<HubSetting> {
  const fake = await FakeHub.start();
  context.after(() => fake.stop());
  const cacheDir = temporaryFolder(context);
  const open = (options: Partial<HubOptions> = {}): Hub =>
    openHub({ endpoint: fake.endpoint, cacheDir, offline: false, retries: QUICK, ...options });
  return { fake, cacheDir, open, hub: open() };
}

export function adapterWith(weights: string | Uint8Array = 'weights'): Record<string, string | Uint8Array> {
  return { 'adapter_config.json': ADAPTER_FILES['adapter_config.json'], [WEIGHTS]: weights };
}

export function resolve(hub: Hub, id = 'org/a', options: Partial<LocateOptions> = {}): Promise<Found> {
  return resolveWith(hub, id, { signal: never, ...options });
}

export async function thrownBy(work: Promise<unknown>): Promise<LoraxError> {
  const error = await work.then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  assert.ok(error instanceof LoraxError, String(error));
  return error;
}

export function sha256(content: string | Uint8Array): string {
  return createHash('sha256').update(content).digest('hex');
}

export function blobs(cacheDir: string, repo = 'org--a'): readonly string[] {
  return readdirSync(join(cacheDir, `models--${repo}`, 'blobs')).toSorted();
}
