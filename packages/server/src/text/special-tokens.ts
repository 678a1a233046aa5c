/**
 * Gathers the added and special tokens that a model folder names in four places, as transformers does. Knows nothing
 * about texts.
 */
import type { AddedToken } from './added-tokens.ts';
import { NAMED_TOKENS, type TokenizerConfig, type TokenizerJson } from './tokenizer-files.ts';

/** Special tokens by the name under which chat templates know them (`bos_token`, ...). */
export function namedTokens(config: TokenizerConfig): Record<string, string> {
  const named: Record<string, string> = {};
  for (const name of NAMED_TOKENS) {
    const content = config[name];
    if (typeof content === 'string') named[name] = content;
  }
  const extra = config.extra_special_tokens;
  return Array.isArray(extra) ? named : { ...named, ...extra };
}

/**
 * The added tokens of tokenizer.json, with those of `added_tokens_decoder` over them. Whatever the configuration uses as
 * a special token is special, also where its own entry forgot to say so; `idOf` finds those that are plain vocabulary.
 */
export function addedTokensOf(
  { tokenizer, config }: { readonly tokenizer: Pick<TokenizerJson, 'added_tokens'>; readonly config: TokenizerConfig },
  idOf: (content: string) => number | undefined,
): AddedToken[] {
  const byId = new Map<number, AddedToken>();
  for (const token of tokenizer.added_tokens) byId.set(token.id, completed(token));
  for (const [id, token] of Object.entries(config.added_tokens_decoder ?? {})) {
    byId.set(Number(id), completed({ id: Number(id), ...token }));
  }
  const idByContent = new Map([...byId.values()].map((token) => [token.content, token.id]));
  for (const content of specialContents(config)) {
    const id = idByContent.get(content) ?? idOf(content);
    if (id === undefined) continue;
    const plain = { id, content, single_word: false, lstrip: false, rstrip: false, normalized: false };
    byId.set(id, { ...(byId.get(id) ?? plain), special: true });
  }
  return [...byId.values()];
}

type WrittenToken = Omit<AddedToken, 'normalized'> & { readonly normalized?: boolean | undefined };

function completed(token: WrittenToken): AddedToken {
  return { ...token, normalized: token.normalized ?? !token.special };
}

function specialContents(config: TokenizerConfig): string[] {
  const extra = config.extra_special_tokens;
  return [
    ...Object.values(namedTokens(config)),
    ...(config.additional_special_tokens ?? []),
    ...(Array.isArray(extra) ? extra : []),
  ].filter((content) => content !== '');
}
