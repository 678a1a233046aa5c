/**
 * Other forms of a model's files give exactly the same logits: `config.json` as the other major version of transformers
 * writes it, and weights in two shards with an index. So do more threads, up to rounding.
 */

import { readFileSync, readdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { writeSafetensors } from '../weights/safetensors-writer.ts';
import { openModelTensors } from '../weights/tensor-folder.ts';
import type { TensorFile } from '../weights/tensor-view.ts';
import { readFloats } from '../weights/values.ts';
import { ALL_AT_ONCE, type Task } from './batch-run.ts';
import { compareRows, worstOf, type Outcome } from './comparison.ts';
import { EngineSession, type SessionOptions } from './engine-session.ts';
import type { CheckGroup } from './report.ts';
import { withTemporaryFolder } from './temporary-folder.ts';
import { readVectors } from './vectors.ts';

type Json = Record<string, unknown>;

/** Compares with `session`, which has the model as it is. */
export async function checkOtherForms(
  session: EngineSession,
  options: SessionOptions,
  group: CheckGroup,
): Promise<void> {
  const tasks = readVectors(options.folder).map(({ prompt }) => {
    return { prompt, newTokenCount: 1, adapters: [], isReduced: true };
  });
  const forms = { 'the other config.json': writeOtherConfig, 'two shards': writeShards };
  for (const [name, write] of Object.entries(forms)) {
    await group.check(name, () =>
      withTemporaryFolder((folder) => {
        write(options.folder, folder);
        return compareSessions(session, { ...options, folder }, tasks, 0);
      }),
    );
  }
  const threaded = { ...options, threads: options.threads + 1 };
  await group.check('one more thread', () => compareSessions(session, threaded, tasks, options.precision.tolerance));
}

async function compareSessions(
  session: EngineSession,
  options: SessionOptions,
  tasks: readonly Task[],
  tolerance: number,
): Promise<Outcome> {
  const expected = await session.answer(tasks, ALL_AT_ONCE);
  const other = await EngineSession.open(options);
  try {
    const actual = await other.answer(tasks, ALL_AT_ONCE);
    return worstOf(expected.map(({ rows }, i) => compareRows(rows, actual[i]!.rows, tolerance)));
  } finally {
    other.dispose();
  }
}

function writeOtherConfig(folder: string, target: string): void {
  const config = JSON.parse(readFileSync(join(folder, 'config.json'), 'utf8')) as Json;
  const other = 'rope_parameters' in config ? asTransformers4(config) : asTransformers5(config);
  writeFileSync(join(target, 'config.json'), JSON.stringify(other));
  linkFiles(folder, target, (name) => name !== 'config.json');
}

function asTransformers4({ rope_parameters, dtype, ...rest }: Json): Json {
  const { rope_theta, ...scaling } = rope_parameters as Json;
  const rope_scaling = scaling['rope_type'] === 'default' ? null : scaling;
  return { ...rest, torch_dtype: dtype, rope_theta, rope_scaling };
}

function asTransformers5({ rope_theta, rope_scaling, torch_dtype, ...rest }: Json): Json {
  const scaling = (rope_scaling ?? { rope_type: 'default' }) as Json;
  return { ...rest, dtype: torch_dtype, rope_parameters: { ...scaling, rope_theta } };
}

function writeShards(folder: string, target: string): void {
  linkFiles(folder, target, (name) => !name.includes('.safetensors'));
  const tensors = openModelTensors(folder);
  try {
    const { names } = tensors;
    const middle = Math.ceil(names.length / 2);
    const first = writeShard(target, 1, tensors, names.slice(0, middle));
    const second = writeShard(target, 2, tensors, names.slice(middle));
    const index = { metadata: {}, weight_map: { ...first, ...second } };
    writeFileSync(join(target, 'model.safetensors.index.json'), JSON.stringify(index));
  } finally {
    tensors.dispose();
  }
}

/** Its part of the index's weight map. */
function writeShard(target: string, i: number, tensors: TensorFile, names: readonly string[]): Record<string, string> {
  const shard = `model-0000${i}-of-00002.safetensors`;
  const views = names.map((name) => tensors.get(name)!);
  writeSafetensors(
    join(target, shard),
    views.map((view) => {
      const bytes = new Uint8Array(readFloats(view).buffer);
      return { name: view.name, dtype: 'float32', shape: view.shape, bytes };
    }),
  );
  return Object.fromEntries(names.map((name) => [name, shard]));
}

function linkFiles(folder: string, target: string, isWanted: (name: string) => boolean): void {
  for (const name of readdirSync(folder).filter(isWanted)) symlinkSync(resolve(folder, name), join(target, name));
}
