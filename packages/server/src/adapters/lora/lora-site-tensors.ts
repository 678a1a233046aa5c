/** Sorts an adapter's tensors by the module that they belong to. Knows names, not shapes and not what is expected. */

import { shown } from '../../weights/file-fault.ts';
import type { TensorFile, TensorView } from '../../weights/tensor-view.ts';
import type { ReportBuilder } from '../load-report.ts';
import { parseLoraTensorName, type LoraPart } from './lora-tensor-name.ts';

/** The tensors of one module, at most one a part. */
export type SiteTensors = ReadonlyMap<LoraPart, TensorView>;

/** By module path. Two tensors for one part, and tensors of two adapters in one file, are faults of the report. */
export function sortBySite(tensors: TensorFile, report: ReportBuilder): ReadonlyMap<string, SiteTensors> {
  const sites = new Map<string, Map<LoraPart, TensorView>>();
  const adapterNames = new Set<string>();
  for (const name of tensors.names) {
    const parsed = parseLoraTensorName(name);
    const view = tensors.get(name);
    if (parsed === undefined || view === undefined) {
      report.unused(name, 'its name is none that PEFT gives');
      continue;
    }
    const site = sites.get(parsed.path) ?? new Map<LoraPart, TensorView>();
    sites.set(parsed.path, site);
    const other = site.get(parsed.part);
    if (other === undefined) site.set(parsed.part, view);
    else report.fault(name, `${shown(other.name)} is the same tensor in another spelling`);
    if (parsed.adapterName === undefined) continue;
    adapterNames.add(parsed.adapterName);
    if (adapterNames.size === 2)
      report.fault(name, `the file holds the adapters ${[...adapterNames].map(shown).join(' and ')}`);
  }
  return sites;
}
