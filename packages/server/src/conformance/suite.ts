/** The whole suite over one folder of reference vectors, in the precisions asked for. */

import type { Dtype } from '../weights/tensor-view.ts';
import type { ChosenDevice } from '../serving/backend.ts';
import { findCases } from './cases.ts';
import { checkModel } from './model-checks.ts';
import { PRECISIONS } from './precision.ts';
import { Report } from './report.ts';
import { checkTokenizer } from './tokenizer-checks.ts';

export interface SuiteOptions {
  readonly dtypes: readonly Dtype[];
  readonly threads: number;
  readonly device: ChosenDevice;
  /** Takes the report line by line. */
  readonly write: (line: string) => void;
}

/** Runs every case below `root`; the report's last line is written. */
export async function runSuite(root: string, { dtypes, threads, device, write }: SuiteOptions): Promise<Report> {
  const report = new Report(write);
  const { models, tokenizers, skipped } = findCases(root);
  for (const tokenizer of tokenizers) await checkTokenizer(tokenizer, report);
  for (const model of models) {
    for (const dtype of dtypes) {
      const { name: modelId, folder } = model;
      await checkModel(model, { modelId, folder, precision: PRECISIONS[dtype], threads, device }, report);
    }
  }
  for (const entry of skipped) report.skip(entry);
  if (models.length + tokenizers.length === 0) write(`${root} holds no reference vectors`);
  report.finish();
  return report;
}
