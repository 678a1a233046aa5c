/** From the wire's sampling fields to `SamplingParams`, seeds included. Knows no route's defaults but LoRAX's own. */

import { randomBytes } from 'node:crypto';
import { GREEDY, type SamplingParams } from '../engine/sampling/params.ts';

type Optional<T> = T | null | undefined;

export interface SamplingFields {
  readonly temperature?: Optional<number>;
  readonly top_k?: Optional<number>;
  readonly top_p?: Optional<number>;
  readonly typical_p?: Optional<number>;
  readonly repetition_penalty?: Optional<number>;
  readonly frequency_penalty?: Optional<number>;
  readonly presence_penalty?: Optional<number>;
  readonly watermark?: Optional<boolean>;
  readonly seed?: Optional<number | string>;
}

/** Whether the caller named a parameter that only means something when tokens are sampled. */
export function namesSampling(fields: SamplingFields): boolean {
  if (fields.temperature === 0) return false;
  return [fields.temperature, fields.top_k, fields.top_p, fields.typical_p].some((value) => typeof value === 'number');
}

export function samplingParams(fields: SamplingFields, doSample: boolean): SamplingParams {
  return {
    doSample,
    temperature: fields.temperature ?? GREEDY.temperature,
    topK: fields.top_k ?? GREEDY.topK,
    topP: fields.top_p ?? GREEDY.topP,
    typicalP: fields.typical_p ?? GREEDY.typicalP,
    repetitionPenalty: fields.repetition_penalty ?? GREEDY.repetitionPenalty,
    frequencyPenalty: fields.frequency_penalty ?? GREEDY.frequencyPenalty,
    presencePenalty: fields.presence_penalty ?? GREEDY.presencePenalty,
    watermark: fields.watermark ?? GREEDY.watermark,
    seed: fields.seed == null ? randomSeed() : BigInt(fields.seed),
  };
}

/**
 * Copies for `count` sequences of one prompt, with different seeds derived from one: the first is the request's own, so
 * that it answers what a request for one sequence would.
 */
export function variants(sampling: SamplingParams, count: number): SamplingParams[] {
  return Array.from({ length: count }, (_, index) => ({
    ...sampling,
    seed: BigInt.asUintN(64, sampling.seed + BigInt(index)),
  }));
}

/** A seed as the response shows it: a number where every JSON parser reads it exactly, else a decimal string. */
export function wireSeed(seed: bigint | undefined): number | string | null {
  if (seed === undefined) return null;
  return seed <= BigInt(Number.MAX_SAFE_INTEGER) ? Number(seed) : seed.toString();
}

/** 53 of the 64 bits, so that the seed in the response is a number that any client can send back. */
function randomSeed(): bigint {
  return BigInt.asUintN(53, randomBytes(8).readBigUInt64LE());
}
