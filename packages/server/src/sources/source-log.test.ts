import assert from 'node:assert/strict';
import { describe, it } from 'node:test';

import { type SourceLog, logged } from './source-log.ts';

describe('the log of a transfer', () => {
  it('says where a long one is every ten seconds', async () => {
    let nowMs = 0;
    const lines: [string, object][] = [];
    const write = (fields: object, message: string): void => void lines.push([message, fields]);
    const log: SourceLog = { debug: write, info: write, warn: write };
    const transfer = { repo: 'org/a', file: 'w', sizeBytes: 100 };
    const work = async (onPosition: (bytes: number) => void): Promise<void> => {
      for (let bytes = 4; bytes <= 100; bytes += 4) {
        nowMs += 1000;
        onPosition(bytes);
      }
    };
    await logged(log, transfer, work, () => nowMs);
    const about = { repo: 'org/a', file: 'w' };
    assert.deepEqual(lines, [
      ['downloading', { ...about, bytes: 100 }],
      ['still downloading', { ...about, receivedBytes: 40, bytes: 100, seconds: 10 }],
      ['still downloading', { ...about, receivedBytes: 80, bytes: 100, seconds: 20 }],
      ['downloaded', { ...about, bytes: 100, seconds: 25 }],
    ]);
  });

  it('tells nothing of an abort but that it ended', async () => {
    const lines: object[] = [];
    const write = (fields: object): void => void lines.push(fields);
    const reason = new Error('secret of the caller');
    const work = logged({ debug: write, info: write, warn: write }, { repo: 'r', file: 'f', sizeBytes: 1 }, () =>
      Promise.reject(reason),
    );
    await assert.rejects(work, reason);
    assert.deepEqual(Object.keys(lines[1] ?? {}), ['repo', 'file', 'receivedBytes', 'bytes', 'seconds']);
  });
});
