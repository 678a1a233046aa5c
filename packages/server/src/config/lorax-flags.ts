/**
 * The flags of LoRAX's launcher that this server has no option for, each with the reason, so that its users' command
 * lines start or say exactly why not. Ignored: the answers are the same without it. Refused: they would not be, or
 * something that the user relies on would be missing.
 */

import type { Command } from 'commander';

import { LoraxError } from '../base/errors.ts';
import { declareFlag, givenValue } from './command-flag.ts';
import type { GivenValue } from './command-flag.ts';
import type { Environment } from './derive.ts';
import { isFalseWord, isTrueWord } from './value-forms.ts';

interface LoraxFlag {
  readonly effect: 'ignored' | 'refused';
  readonly reason: string;
  /** A switch may stand alone, which says true. */
  readonly kind: 'switch' | 'value';
  /** Values that ask for what happens anyway: accepted without a word. */
  readonly harmless: readonly string[];
  readonly short?: string;
  readonly env?: false;
}

/** Who switches off what is not there anyway asks for nothing. */
const harmlessOf = (kind: LoraxFlag['kind']) => (kind === 'switch' ? ['false'] : []);

const ignored = (kind: LoraxFlag['kind'], reason: string, harmless = harmlessOf(kind)): LoraxFlag => ({
  effect: 'ignored',
  kind,
  reason,
  harmless,
});

const refused = (kind: LoraxFlag['kind'], reason: string, harmless = harmlessOf(kind)): LoraxFlag => ({
  effect: 'refused',
  kind,
  reason,
  harmless,
});

const ONE_PROCESS = 'one process computes, on all the cores (--threads) or cards (--num-shard) that it may use';
const CUDA_GRAPHS = 'a card makes CUDA graphs by itself, of usual numbers of rows and any rank; a CPU has none';
const CONTINUOUS = 'prompts and generated tokens share every step (--max-batch-prefill-tokens bounds the prompts)';
const NO_TUNNEL = 'the server opens no tunnel to the outside';

export const LORAX_FLAGS: Readonly<Record<string, LoraxFlag>> = {
  source: refused('value', 'base models are read from a folder or the Hub', ['hub']),
  validationWorkers: ignored('value', 'the number of tokenizer workers follows from the machine'),
  sharded: ignored('switch', '--num-shard says among how many cards the model is divided'),
  quantize: refused('value', 'weights are served as they are stored, or as --dtype says'),
  compile: ignored('switch', CUDA_GRAPHS),
  eager: ignored('switch', CUDA_GRAPHS),
  compileMaxBatchSize: ignored('value', CUDA_GRAPHS),
  compileMaxRank: ignored('value', CUDA_GRAPHS),
  compileBatchSize: ignored('value', CUDA_GRAPHS),
  trustRemoteCode: ignored('switch', "code from a model's repository is never run"),
  waitingServedRatio: ignored('value', CONTINUOUS),
  maxWaitingTokens: ignored('value', CONTINUOUS),
  eagerPrefill: ignored('switch', CONTINUOUS, ['true']),
  chunkedPrefill: ignored('switch', CONTINUOUS, ['true']),
  prefixCaching: ignored('switch', 'this version computes every prompt; a prefix cache never changes an answer'),
  adapterCycleTimeS: ignored('value', 'adapters share every step, so that none waits for its turn'),
  shardUdsPath: ignored('value', ONE_PROCESS),
  masterAddr: ignored('value', ONE_PROCESS),
  masterPort: ignored('value', ONE_PROCESS),
  weightsCacheOverride: refused('value', 'name the folder of the weights with --model-id'),
  disableCustomKernels: ignored('switch', 'on a card there are no other kernels'),
  cudaMemoryFraction: ignored('value', '--max-batch-total-tokens and --adapter-memory-fraction say what a card holds'),
  otlpEndpoint: ignored('value', 'this version exports no traces'),
  ngrok: refused('switch', NO_TUNNEL),
  ngrokAuthtoken: ignored('value', NO_TUNNEL),
  ngrokEdge: ignored('value', NO_TUNNEL),
  env: { ...ignored('switch', '`lorax doctor` prints what is known of the machine'), short: '-e', env: false },
  downloadOnly: refused('switch', 'there is no command that only downloads; the first start does'),
  backend: ignored('value', 'its values name CUDA attention kernels'),
  embeddingDim: refused('value', 'embedding models are not served'),
  disableSgmv: ignored('switch', 'there is one way to multiply adapters on each device'),
  memoryWiggleRoom: ignored('value', 'the KV cache is sized before anything runs (--max-batch-total-tokens)'),
};

/** What LoRAX read from the environment alone. */
export const LORAX_ENVIRONMENT: Readonly<Record<string, LoraxFlag>> = {
  ROPE_SCALING: refused('value', "the model's config.json alone says how positions are scaled"),
  ROPE_FACTOR: refused('value', "the model's config.json alone says how positions are scaled"),
  REQUEST_LOGGER_URL: ignored('value', 'requests are not sent to anybody'),
  LORAX_PROFILER_DIR: ignored('value', 'there is no CUDA profile to write'),
};

export function declareLoraxFlags(command: Command): void {
  for (const [key, flag] of Object.entries(LORAX_FLAGS)) {
    declareFlag(command, key, { ...flag, repeatable: true, ...(flag.kind === 'value' && { placeholder: 'VALUE' }) });
  }
}

/** One warning a flag that was ignored; throws `OPTION_INVALID` at the first that is refused. */
export function settleLoraxFlags(command: Command, env: Environment): string[] {
  const flags = Object.entries(LORAX_FLAGS).flatMap(([key, flag]) => {
    const given = givenValue(command, key);
    return given === undefined ? [] : settle(flag, given);
  });
  const variables = Object.entries(LORAX_ENVIRONMENT).flatMap(([name, flag]) => {
    const text = env[name];
    return text === undefined || text === '' ? [] : settle(flag, { text, writtenAs: `${name} (environment)` });
  });
  return [...flags, ...variables];
}

function settle(flag: LoraxFlag, { text, writtenAs }: GivenValue): string[] {
  if (flag.harmless.includes(flag.kind === 'switch' ? switchWord(text) : text)) return [];
  if (flag.effect === 'refused') throw new LoraxError('OPTION_INVALID', { option: writtenAs, reason: flag.reason });
  return [`option ${writtenAs} has no effect: ${flag.reason}`];
}

function switchWord(text: string): string {
  return isFalseWord(text) ? 'false' : isTrueWord(text) ? 'true' : text;
}
