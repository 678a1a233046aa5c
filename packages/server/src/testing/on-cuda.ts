/** Loaded before a test file (`node --import`), it lets the test's settings compute on a card. */

import { useCuda } from './setting.ts';

useCuda(1);
