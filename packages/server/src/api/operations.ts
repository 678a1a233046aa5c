/** Routes for those who run the server: health, what is served, metrics. */

import type { OpenAPIHono } from '@hono/zod-openapi';
import { invalidField } from '../base/errors.ts';
import { metricsJson } from '../telemetry/metrics-json.ts';
import type { ApiContext } from './context.ts';

export const HEALTH_PATHS = ['/', '/health', '/ping'];

export function addOperationRoutes(app: OpenAPIHono, { serving, metrics }: ApiContext): void {
  for (const path of HEALTH_PATHS) {
    app.get(path, async (c) => {
      await serving.checkHealth();
      return c.body(null, 200);
    });
  }
  app.get('/info', (c) => c.json(serving.info()));
  app.get('/metrics', async (c) => {
    if (wantsJson(c.req.query('format'), c.req.header('accept'))) return c.json(await metricsJson(metrics.registry));
    return c.text(await metrics.registry.metrics(), 200, { 'content-type': metrics.registry.contentType });
  });
}

/** The query wins over the header, as it is the more deliberate of the two. */
function wantsJson(format: string | undefined, accept = ''): boolean {
  if (format === undefined) return accept.includes('application/json');
  if (format !== 'json' && format !== 'prometheus') throw invalidField('format', 'must be one of json, prometheus');
  return format === 'json';
}
