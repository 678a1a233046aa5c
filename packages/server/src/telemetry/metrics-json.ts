/** The metrics in LoRAX's JSON form, which `/metrics` answers to `Accept: application/json`. */

import type { Registry } from 'prom-client';

export interface JsonMetric {
  readonly type: string;
  readonly data: readonly { readonly key: string; readonly value: number }[];
}

interface Sample {
  readonly value: number;
  readonly labels: Readonly<Record<string, string | number | undefined>>;
  readonly metricName?: string;
}

export async function metricsJson(registry: Registry): Promise<Record<string, JsonMetric>> {
  const metrics = await registry.getMetricsAsJSON();
  return Object.fromEntries(
    metrics.map(({ name, type, values }) => [
      name,
      { type: String(type), data: values.map((sample: Sample) => ({ key: keyOf(name, sample), value: sample.value })) },
    ]),
  );
}

/** The series' full name where it has labels, else what the metric's own name leaves over: "", "sum" or "count". */
function keyOf(name: string, { labels, metricName = name }: Sample): string {
  const pairs = Object.entries(labels).map(([label, value]) => `${label}="${String(value)}"`);
  return pairs.length > 0 ? `${metricName}{${pairs.join(',')}}` : metricName.slice(name.length).replace('_', '');
}
