/** The served model's tokenizer, with what the tokenizers of adapters take from it. Knows no adapter. */
import { createHash } from 'node:crypto';
import { basename } from 'node:path';
import { LoraxError } from '../base/errors.ts';
import { asModelErrors, readTokenizerFiles } from './base-files.ts';
import type { ChatTemplates } from './chat-template.ts';
import { packCodec } from './codec-source.ts';
import { ComposedTokenizer } from './composed-tokenizer.ts';
import { type Encoder, MixedEncoder, WorkerEncoder } from './encoder.ts';
import { OwnCodecs } from './own-codecs.ts';
import { namedTokens } from './special-tokens.ts';
import { openCodec, type TextCodec } from './text-codec.ts';
import { openTextPools, type TextPoolOptions, type TextPools } from './text-pools.ts';
import type { SettingsFiles, TokenizerSettings } from './tokenizer-files.ts';
import type { Tokenizer } from './tokenizer.ts';

export interface TokenizerOptions extends TextPoolOptions {
  /** A tokenizer_config.json whose entries replace the folder's, or a file with nothing but a chat template. */
  readonly chatTemplatePath?: string;
}

export interface BaseTokenizer extends Tokenizer {
  readonly shared: SharedText;
}

/** What an adapter's tokenizer is compared with, and what it uses as far as it means the same. */
export interface SharedText {
  readonly codec: TextCodec;
  readonly encoder: Encoder;
  readonly eosTokenIds: readonly number[];
  readonly templates: ChatTemplates;
  readonly pools: TextPools;
  readonly ownCodecs: OwnCodecs;
  /** What the model's folder says, also where the operator says something else. */
  readonly folder: TokenizerSettings & {
    readonly tokenizerSha256: string;
    readonly files: SettingsFiles;
  };
}

/** Opens the tokenizer of a model folder. Throws `MODEL_INVALID`, naming the file. */
export async function openTokenizer(folder: string, options: TokenizerOptions = {}): Promise<BaseTokenizer> {
  const files = await readTokenizerFiles(folder, options.chatTemplatePath);
  const codec = await asModelErrors(basename(folder), () => openCodec(files));
  const pools = openTextPools(options);
  const sha256 = createHash('sha256').update(files.tokenizerBytes).digest('hex');
  const source = await packCodec({ bytes: files.tokenizerBytes, sha256 }, files.config);
  const inWorkers = new WorkerEncoder(pools.encoders, source, (cause) => new LoraxError('INTERNAL', {}, { cause }));
  const eosTokenId = codec.idOf(files.config.eos_token ?? '');
  const shared: SharedText = {
    codec,
    encoder: new MixedEncoder(codec, inWorkers),
    eosTokenIds: eosTokenId === undefined ? [] : [eosTokenId],
    templates: { byName: files.chatTemplates, tokens: namedTokens(files.config) },
    pools,
    ownCodecs: new OwnCodecs(),
    folder: { ...files.written, tokenizerSha256: sha256, files: files.settingsFiles },
  };
  const tokenizer = new ComposedTokenizer({
    ...shared,
    decoder: codec.decoder,
    renderers: pools.renderers,
    maxRunning: Infinity,
    dispose: () => pools.dispose(),
  });
  return Object.assign(tokenizer, { shared });
}
