/**
 * A file that grows to a known size and, where its digest is known, to known content. Written by position and never cut
 * short: whoever else still writes the same content to it does no harm. Knows nothing about the network.
 */

import { type Hash, createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { type FileHandle, constants, open, rm } from 'node:fs/promises';

import { SourceFault } from './source-fault.ts';

export interface Digest {
  readonly algorithm: 'sha256' | 'md5';
  /** In hexadecimal. */
  readonly hex: string;
}

export interface ExpectedContent {
  /** The file's name at the other end, for messages. */
  readonly name: string;
  /** Who sends it, for messages: `the Hub`. */
  readonly peer: string;
  readonly sizeBytes: number;
  /** Undefined where the other end does not say it. */
  readonly digest: Digest | undefined;
}

export class PartialFile {
  readonly #path: string;
  readonly #expected: ExpectedContent;
  #handle: FileHandle;
  #hash: Hash | undefined;
  #position = 0;

  private constructor(path: string, expected: ExpectedContent, handle: FileHandle) {
    this.#path = path;
    this.#expected = expected;
    this.#handle = handle;
  }

  /** Opens or creates the file; writing goes on where it ends. */
  static async open(path: string, expected: ExpectedContent): Promise<PartialFile> {
    const file = new PartialFile(path, expected, await openForWriting(path));
    try {
      await file.#continue();
      return file;
    } catch (error) {
      await file.close();
      throw error;
    }
  }

  get position(): number {
    return this.#position;
  }

  async write(chunk: Uint8Array): Promise<void> {
    const { name, peer, sizeBytes } = this.#expected;
    if (this.#position + chunk.byteLength > sizeBytes) {
      await rm(this.#path, { force: true });
      throw new SourceFault('broken', `\`${name}\` is larger than ${peer} says (${sizeBytes} bytes)`);
    }
    for (let done = 0; done < chunk.byteLength;) {
      const { bytesWritten } = await this.#handle.write(chunk, done, chunk.byteLength - done, this.#position + done);
      done += bytesWritten;
    }
    this.#hash?.update(chunk);
    this.#position += chunk.byteLength;
  }

  /** Leaves what was written to others and goes on with an empty file of the same name. */
  async startOver(): Promise<void> {
    await this.#handle.close();
    await rm(this.#path, { force: true });
    this.#handle = await openForWriting(this.#path);
    await this.#continue();
  }

  /** Throws unless the content is complete; damaged content is removed. */
  async check(): Promise<void> {
    const { name, peer, sizeBytes, digest } = this.#expected;
    if (this.#position < sizeBytes) {
      throw new SourceFault(
        'temporary',
        `the transfer of \`${name}\` was cut at ${this.#position} of ${sizeBytes} bytes`,
      );
    }
    if (digest !== undefined && this.#hash?.digest('hex') !== digest.hex) {
      await rm(this.#path, { force: true });
      throw new SourceFault(
        'temporary',
        `\`${name}\` arrived damaged: its ${digest.algorithm} is not the one that ${peer} says`,
      );
    }
    await this.#handle.datasync();
  }

  async close(): Promise<void> {
    await this.#handle.close();
  }

  async #continue(): Promise<void> {
    const { size } = await this.#handle.stat();
    if (size > this.#expected.sizeBytes) return this.startOver();
    this.#position = size;
    if (this.#expected.digest === undefined) return;
    this.#hash = createHash(this.#expected.digest.algorithm);
    if (size === 0) return;
    const written: AsyncIterable<Buffer> = createReadStream(this.#path, { end: size - 1 });
    for await (const chunk of written) this.#hash.update(chunk);
  }
}

function openForWriting(path: string): Promise<FileHandle> {
  return open(path, constants.O_RDWR | constants.O_CREAT, 0o644);
}
