/**
 * Whether an adapter was trained for the model that is served: by name, then by architecture. Where neither can be had
 * the shapes of its tensors decide, later. Knows no adapter type and no source of configurations.
 */

import { basename, isAbsolute } from 'node:path';
import { adapterInvalid } from './adapter-invalid.ts';

export interface BaseCheck {
  readonly verdict: 'same' | 'compatible' | 'unverified';
  readonly reason: string;
}

/** What an adapter says of its base. */
export interface NamedBase {
  readonly name: string | undefined;
  /** Class that held the base in training, and the Python module that defines it; saved where no task is named. */
  readonly modelClass: string | undefined;
  readonly modelLibrary: string | undefined;
}

export interface ServedModel {
  readonly id: string;
  /** For instance `LlamaForCausalLM`. */
  readonly architecture: string;
}

/** The two fields of a model's config.json that tell architectures apart. */
export interface BaseConfig {
  readonly architectures?: readonly string[];
}

/** Finds another model's configuration by name; undefined where there is none to be had. */
export type ResolveBase = (name: string, signal: AbortSignal) => Promise<BaseConfig | undefined>;

export interface BaseCheckRequest {
  readonly adapterId: string;
  readonly base: NamedBase;
  readonly served: ServedModel;
  readonly resolve?: ResolveBase;
  readonly signal: AbortSignal;
}

/** Throws ADAPTER_INVALID, naming both architectures, where they are known to differ. */
export async function checkBase(request: BaseCheckRequest): Promise<BaseCheck> {
  const { base, served } = request;
  if (base.name === served.id) return { verdict: 'same', reason: `the adapter names ${displayName(served.id)}` };
  const byClass = checkClass(request);
  if (byClass !== undefined) return byClass;
  if (base.name === undefined) return { verdict: 'unverified', reason: 'the adapter names no base model' };
  const architectures = await architecturesOf(base.name, request);
  if (architectures === undefined) {
    return { verdict: 'unverified', reason: `nothing is known of its base model ${displayName(base.name)}` };
  }
  if (!architectures.includes(served.architecture)) throw mismatch(request, architectures.join(', '));
  return { verdict: 'compatible', reason: `its base model ${displayName(base.name)} is a ${served.architecture} too` };
}

function checkClass(request: BaseCheckRequest): BaseCheck | undefined {
  const { modelClass, modelLibrary } = request.base;
  // Wrappers of other libraries can have any name; transformers' own are architectures.
  if (modelClass === undefined || modelLibrary?.startsWith('transformers.models.') !== true) return undefined;
  if (familyOf(modelClass) !== familyOf(request.served.architecture)) throw mismatch(request, modelClass);
  return { verdict: 'compatible', reason: `it was trained on a ${modelClass}` };
}

/** The model with whatever head: an adapter of `LlamaModel` has the modules of `LlamaForCausalLM`. */
function familyOf(architecture: string): string {
  return architecture.replace(/(?:For[A-Z]\w*|LMHeadModel|Model)$/, '');
}

async function architecturesOf(name: string, request: BaseCheckRequest): Promise<readonly string[] | undefined> {
  try {
    const config = await request.resolve?.(name, request.signal);
    return config?.architectures?.length ? config.architectures : undefined;
  } catch {
    // A base that cannot be asked about is no fault of the adapter; the report says that nothing is known.
    request.signal.throwIfAborted();
    return undefined;
  }
}

function mismatch({ adapterId, base, served }: BaseCheckRequest, trainedOn: string): Error {
  const name = base.name === undefined ? '' : ` (${displayName(base.name)})`;
  return adapterInvalid(
    adapterId,
    `it was trained on ${trainedOn}${name}, the model served is ${served.architecture} (${displayName(served.id)})`,
  );
}

/** Models are named by id or by folder; of a folder only its own name is anyone's business. */
function displayName(name: string): string {
  return isAbsolute(name) ? basename(name) : name;
}
