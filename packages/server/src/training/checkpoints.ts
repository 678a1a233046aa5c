/**
 * Checkpoints of a training in its output folder, `checkpoint-<step>`: parameters and optimizer state in float32, and
 * what the training was asked to do, so that a resumed one goes on to the bit or is refused. Only the newest is kept.
 */

import { mkdir, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import type { HeadTrainer, ParameterPart } from '../backend/training.ts';
import { LoraxError } from '../base/errors.ts';
import { openSafetensors } from '../weights/safetensors.ts';
import { writeSafetensors } from '../weights/safetensors-writer.ts';
import { readFloats } from '../weights/values.ts';

const STATE_FILE = 'trainer_state.json';
const TENSORS_FILE = 'training_state.safetensors';
const NAME = /^checkpoint-(\d+)$/;
const PARTS = ['value', 'firstMoment', 'secondMoment'] as const satisfies ParameterPart[];

/** Everything that the numbers depend on, as text. */
export type TrainingIdentity = Readonly<Record<string, string>>;

const stateSchema = z.object({ step: z.int().min(1), identity: z.record(z.string(), z.string()) });

export class Checkpoints {
  readonly #folder: string;
  readonly #identity: TrainingIdentity;

  constructor(folder: string, identity: TrainingIdentity) {
    this.#folder = folder;
    this.#identity = identity;
  }

  /** Brings the trainer to the newest checkpoint's state. Throws OPTION_INVALID for one of another training. */
  async restore(trainer: HeadTrainer): Promise<void> {
    const [newest] = await this.#list();
    if (newest === undefined) return;
    const folder = join(this.#folder, newest.name);
    const { step, identity } = await this.#readState(folder, newest.name);
    this.#checkIdentity(newest.name, identity);
    const file = openSafetensors(join(folder, TENSORS_FILE));
    try {
      for (const { name, shape } of trainer.parameters) {
        for (const part of PARTS) {
          const view = file.get(tensorName(name, part));
          if (view?.shape.join() !== shape.join()) throw damaged(newest.name, `${name} is not as it was saved`);
          trainer.write(name, part, readFloats(view));
        }
      }
    } finally {
      file.dispose();
    }
    trainer.updateCount = step;
  }

  /** Appears as a whole or not at all; the one before it goes. */
  async save(trainer: HeadTrainer): Promise<void> {
    const step = trainer.updateCount;
    const older = await this.#list();
    if (older.some((checkpoint) => checkpoint.step === step)) return;
    const folder = join(this.#folder, `checkpoint-${step}`);
    const unfinished = `${folder}.partial`;
    await rm(unfinished, { recursive: true, force: true });
    await mkdir(unfinished, { recursive: true });
    writeSafetensors(
      join(unfinished, TENSORS_FILE),
      trainer.parameters.flatMap(({ name, shape }) =>
        PARTS.map((part) => ({
          ...{ name: tensorName(name, part), dtype: 'float32' as const, shape },
          bytes: () => [new Uint8Array(trainer.read(name, part).buffer)],
        })),
      ),
    );
    await writeFile(join(unfinished, STATE_FILE), JSON.stringify({ step, identity: this.#identity }, undefined, 2));
    await rename(unfinished, folder);
    for (const { name } of older) await rm(join(this.#folder, name), { recursive: true });
  }

  async removeAll(): Promise<void> {
    for (const { name } of await this.#list()) await rm(join(this.#folder, name), { recursive: true });
  }

  /** The newest first. */
  async #list(): Promise<{ readonly name: string; readonly step: number }[]> {
    const names = await readdir(this.#folder);
    const found = names.flatMap((name) => {
      const step = NAME.exec(name)?.[1];
      return step === undefined ? [] : [{ name, step: Number(step) }];
    });
    return found.toSorted((a, b) => b.step - a.step);
  }

  async #readState(folder: string, name: string): Promise<z.infer<typeof stateSchema>> {
    try {
      return stateSchema.parse(JSON.parse(await readFile(join(folder, STATE_FILE), 'utf8')));
    } catch (cause) {
      throw damaged(name, `${STATE_FILE} cannot be read`, cause);
    }
  }

  #checkIdentity(name: string, saved: TrainingIdentity): void {
    const keys = new Set([...Object.keys(saved), ...Object.keys(this.#identity)]);
    const other = [...keys].find((key) => saved[key] !== this.#identity[key]);
    if (other === undefined) return;
    const [there, here] = [saved, this.#identity].map((identity) => identity[other] ?? 'nothing');
    const reason = `holds ${name} of another training (${other} is ${there} there, ${here} here); remove it or name another folder`;
    throw new LoraxError('OPTION_INVALID', { option: '--output-dir', reason });
  }
}

const tensorName = (parameter: string, part: ParameterPart): string => `${part}.${parameter}`;

function damaged(checkpoint: string, reason: string, cause?: unknown): LoraxError {
  return new LoraxError('FILE_INVALID', { file: checkpoint, reason }, { cause });
}
