/** How `--device` is written. Knows no devices. */

import { z } from 'zod';

import type { ValueForm } from './option-spec.ts';

/** `cuda:1` is the second card in the driver's order. */
export type DeviceName = 'auto' | 'cpu' | 'cuda' | `cuda:${number}`;

const EXPECTED = 'must be auto, cpu, cuda or cuda:N';

export function deviceName(): ValueForm<DeviceName> {
  const schema = z.string().transform((value, context): DeviceName => {
    if (isDeviceName(value)) return value;
    context.addIssue(`${EXPECTED}, not ${JSON.stringify(value)}`);
    return z.NEVER;
  });
  return { schema, placeholder: 'DEVICE' };
}

function isDeviceName(value: string): value is DeviceName {
  return /^(auto|cpu|cuda(:(0|[1-9]\d{0,2}))?)$/.test(value);
}
