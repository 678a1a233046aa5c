/** Bodies of the adapter routes, in and out: ours under `/v1/adapters`, and vLLM's two. */

import { z } from '@hono/zod-openapi';
import { adapterId, adapterSource, nonNegativeInt } from './fields.ts';

const byteCount = z.int().min(0);

const name = adapterId.min(1);

export const LoadAdapterRequest = z
  .object({
    id: adapterId.min(1),
    source: adapterSource.nullish(),
    name: name.nullish().openapi({ description: 'Stands for the adapter as `adapter_id` and as `model`.' }),
    pin: z.boolean().nullish().openapi({ description: 'Keep it resident whatever else is used.' }),
    api_token: z.string().nullish(),
  })
  .openapi('LoadAdapterRequest');

/** Of the query; a source that is repeated is refused, not chosen from. */
export const AdapterQuery = z.object({
  source: adapterSource.optional().openapi({ description: 'Absent: `id` may be a name, or an id of any source.' }),
});

const AdapterBytes = z
  .object({ disk: byteCount, host: byteCount, device: byteCount })
  .openapi('AdapterBytes', { description: 'Bytes in each tier.' });

const AdapterFailure = z
  .object({
    code: z.string().openapi({ description: 'As in the reference of errors.' }),
    reason: z.string(),
    retry_at: nonNegativeInt.openapi({ description: 'Unix seconds; requests before then get this failure.' }),
  })
  .openapi('AdapterFailure');

export const AdapterSummary = z
  .object({
    id: z.string(),
    names: z.array(z.string()),
    source: z.string(),
    revision: z.string().nullable(),
    generation: z.string().nullable().openapi({ description: 'Content identity, once its files are here.' }),
    state: z.enum(['known', 'downloading', 'on_disk', 'on_host', 'resident', 'draining', 'failed']),
    pinned: z.boolean(),
    bytes: AdapterBytes,
    ranks: z.array(nonNegativeInt),
    targets: z.array(z.string()),
    last_used: nonNegativeInt.nullable().openapi({ description: 'Unix seconds.' }),
    running_requests: nonNegativeInt,
    failure: AdapterFailure.nullable(),
  })
  .openapi('Adapter');

export const AdapterDetail = AdapterSummary.extend({
  report: z
    .record(z.string(), z.unknown())
    .nullable()
    .openapi({ description: 'What became of each of its parts, once it was read.' }),
}).openapi('AdapterWithReport');

export const AdapterList = z
  .object({ object: z.literal('list'), data: z.array(AdapterSummary) })
  .openapi('AdapterList');

export const UnloadedAdapter = z
  .object({ id: z.string(), source: z.string(), freed: AdapterBytes })
  .openapi('UnloadedAdapter');

export const LoadLoraRequest = z
  .object({
    lora_name: name,
    lora_path: adapterId.min(1).openapi({
      description: 'An absolute path inside --adapter-root, an s3:// address, or a Hub id.',
    }),
    load_inplace: z.boolean().nullish().openapi({ description: 'Let the name stand for this adapter from now on.' }),
  })
  .openapi('LoadLoraAdapterRequest');

export const UnloadLoraRequest = z.object({ lora_name: name }).openapi('UnloadLoraAdapterRequest');

export const LoraError = z
  .object({
    error: z.object({
      message: z.string(),
      type: z.string(),
      param: z.string().nullable(),
      code: nonNegativeInt.openapi({ description: 'The HTTP status.' }),
      details: z.unknown().optional(),
    }),
  })
  .openapi('LoraAdapterErrorResponse');
