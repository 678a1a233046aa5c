/**
 * An adapter's own tokenizer, where its folder has one that means something else than the served model's. What is the same
 * is shared; what is not is a stranger's, and is read, rendered and encoded in worker processes only.
 */
import { isDeepStrictEqual } from 'node:util';
import { LoraxError } from '../base/errors.ts';
import { type AdapterTextFiles, readAdapterTextFiles } from './adapter-text-files.ts';
import { type HashedBytes, packCodec } from './codec-source.ts';
import { ComposedTokenizer } from './composed-tokenizer.ts';
import { WorkerEncoder } from './encoder.ts';
import type { BaseTokenizer, SharedText } from './hf-tokenizer.ts';
import type { CodecHold } from './own-codecs.ts';
import { namedTokens } from './special-tokens.ts';
import { JobError } from './text-worker.ts';
import { type SettingsFiles, TextFileError, type TokenizerConfig } from './tokenizer-files.ts';
import type { Tokenizer } from './tokenizer.ts';

export interface ServedText {
  readonly tokenizer: BaseTokenizer;
  /** Tokens that the model knows. */
  readonly vocabSize: number;
}

/** For one load: it takes its turn with the loads of others. */
const AT_A_TIME = { maxRunning: 1 };
const NAMES_FILE = /^([\w.]+\.(?:json|jinja)): (.*)$/s;

/**
 * Undefined where the folder has no tokenizer, or one that means the same as the served model's: PEFT copies the base's
 * files beside every adapter. What it needs of the files it has read when it resolves. Rejects with ADAPTER_INVALID naming
 * the file, or with OUT_OF_MEMORY.
 */
export async function openAdapterTokenizer(
  folder: string,
  adapterId: string,
  { tokenizer: { shared }, vocabSize }: ServedText,
  signal?: AbortSignal,
): Promise<Tokenizer | undefined> {
  try {
    const files = await readAdapterTextFiles(folder);
    if (isCopy(files, shared)) return undefined;
    const own = await readSettings(files.settings, shared, signal);
    const bytes = ownCodecBytes(files, own.config, shared);
    if (bytes === undefined) return own.isSame ? undefined : sharingCodec(own, shared);
    const source = await packCodec(bytes, own.config, vocabSize);
    const hold = await shared.ownCodecs.hold(source, () => {
      const input = { codec: { key: source.key, source } };
      return shared.pools.strangers.run({ ...AT_A_TIME }, 'describe', input).catch(inFile('tokenizer.json'));
    });
    return withOwnCodec(own, hold, shared, adapterId);
  } catch (error) {
    if (!(error instanceof TextFileError)) throw error;
    throw new LoraxError('ADAPTER_INVALID', { adapterId, reason: error.message }, { cause: error });
  }
}

/** Byte by byte, without reading what the files mean. */
function isCopy({ tokenizer, settings }: AdapterTextFiles, { folder }: SharedText): boolean {
  if (tokenizer !== undefined && tokenizer.sha256 !== folder.tokenizerSha256) return false;
  return Object.entries(settings).every(([name, bytes]) => {
    const served = folder.files[name as keyof SettingsFiles];
    return served !== undefined && Buffer.compare(bytes, served) === 0;
  });
}

/** What an adapter says beside tokenizer.json, with the served model's where it says nothing. */
interface OwnSettings {
  readonly config: TokenizerConfig;
  readonly templates: SharedText['templates'];
  readonly eosToken: string;
  /** Nothing but the spelling differs. */
  readonly isSame: boolean;
}

async function readSettings(files: SettingsFiles, shared: SharedText, signal?: AbortSignal): Promise<OwnSettings> {
  const { folder, pools, templates } = shared;
  const read = await pools.strangers.run({ ...AT_A_TIME }, 'settings', files, signal).catch(inFile('its tokenizer'));
  const hasConfig = files['tokenizer_config.json'] !== undefined || files['special_tokens_map.json'] !== undefined;
  const config = hasConfig ? read.config : folder.config;
  const hasTemplate = read.chatTemplates['default'] !== undefined;
  const isSameTemplate = !hasTemplate || isDeepStrictEqual(read.chatTemplates, folder.chatTemplates);
  const isSameTokens = isDeepStrictEqual(namedTokens(config), namedTokens(folder.config));
  return {
    config,
    templates: {
      byName: isSameTemplate ? templates.byName : read.chatTemplates,
      tokens: isSameTokens ? templates.tokens : namedTokens(config),
    },
    eosToken: config.eos_token ?? '',
    isSame: isSameTemplate && isSameTokens,
  };
}

/** The bytes to make a codec of where the served model's would give other tokens. */
function ownCodecBytes(
  { tokenizer }: AdapterTextFiles,
  config: TokenizerConfig,
  { codec, folder }: SharedText,
): HashedBytes | undefined {
  if (tokenizer === undefined) return undefined;
  const isSame = tokenizer.sha256 === folder.tokenizerSha256;
  return isSame && codec.settingsKey(config) === codec.settingsKey(folder.config) ? undefined : tokenizer;
}

function sharingCodec({ templates, eosToken }: OwnSettings, shared: SharedText): Tokenizer {
  const { codec, encoder, pools } = shared;
  const eosTokenId = codec.idOf(eosToken);
  return new ComposedTokenizer({
    decoder: codec.decoder,
    encoder,
    eosTokenIds: eosTokenId === undefined ? [] : [eosTokenId],
    templates,
    renderers: pools.renderers,
    ...AT_A_TIME,
    dispose: () => Promise.resolve(),
  });
}

function withOwnCodec(
  { templates }: OwnSettings,
  hold: CodecHold,
  { pools }: SharedText,
  adapterId: string,
): Tokenizer {
  const { source, decoder, eosTokenIds } = hold.codec;
  const asError = (cause: JobError): LoraxError => {
    const reason = `tokenizer.json: a text could not be turned into tokens: ${cause.message}`;
    return new LoraxError('ADAPTER_INVALID', { adapterId, reason }, { cause });
  };
  return new ComposedTokenizer({
    decoder,
    encoder: new WorkerEncoder(pools.strangers, source, asError),
    eosTokenIds,
    templates,
    renderers: pools.renderers,
    ...AT_A_TIME,
    dispose: async () => hold.release(),
  });
}

/** A worker's failure as that of a file; what the worker found in a file names it already. */
function inFile(file: string): (error: unknown) => never {
  return (error) => {
    if (!(error instanceof JobError)) throw error;
    const [, named, problem] = NAMES_FILE.exec(error.message) ?? [];
    throw new TextFileError(named ?? file, problem ?? error.message, { cause: error });
  };
}
