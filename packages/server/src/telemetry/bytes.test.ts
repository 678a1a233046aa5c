import assert from 'node:assert/strict';
import { test } from 'node:test';

import { formatBytes } from './bytes.ts';

test('bytes are written in the unit that keeps them below 1024', () => {
  const texts = [0, 1023, 1024, 1536, 1024 ** 3, 3.5 * 1024 ** 4, 5000 * 1024 ** 4].map(formatBytes);
  assert.deepEqual(texts, ['0 bytes', '1023 bytes', '1.0 KiB', '1.5 KiB', '1.0 GiB', '3.5 TiB', '5000.0 TiB']);
});
