/** A tokenizer that fails at one id: what a fault in making text must not do to others. */

import type { Tokenizer } from '../text/tokenizer.ts';

/** Decoding anything with `id` in it throws. */
export function textless(id: number): (tokenizer: Tokenizer) => Tokenizer {
  return (tokenizer) => ({
    vocabSize: tokenizer.vocabSize,
    eosTokenIds: tokenizer.eosTokenIds,
    hasChatTemplate: tokenizer.hasChatTemplate,
    encode: (...args) => tokenizer.encode(...args),
    spans: (...args) => tokenizer.spans(...args),
    renderChat: (...args) => tokenizer.renderChat(...args),
    isSpecial: (other) => tokenizer.isSpecial(other),
    dispose: () => tokenizer.dispose(),
    decode: (ids, options) => {
      if (ids.includes(id)) throw new TypeError(`no text for ${id}`);
      return tokenizer.decode(ids, options);
    },
  });
}
