/** Loaded before a test file (`node --import`), it lets the test's settings compute in two shards, on two cards or on one. */

import { useCuda } from './setting.ts';

useCuda(2);
