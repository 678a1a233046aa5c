/** A tokenizer's encodings, decodings and chats against the reference's. */

import { openTokenizer } from '../text/hf-tokenizer.ts';
import type { Tokenizer } from '../text/tokenizer.ts';
import type { FolderCase } from './cases.ts';
import { compareEqual, worstOf } from './comparison.ts';
import type { CheckGroup, Report } from './report.ts';
import { readTokenizerVectors, type TokenizerVectors } from './vectors.ts';

export async function checkTokenizer({ name, folder }: FolderCase, report: Report): Promise<void> {
  await report.group(name, async (group) => {
    const { encodings, chats = [] } = readTokenizerVectors(folder);
    const tokenizer = await openTokenizer(folder);
    try {
      for (const encoding of encodings) await checkEncoding(tokenizer, encoding, group);
      for (const [i, { messages, rendered }] of chats.entries()) {
        const rendering = tokenizer.renderChat({ messages, addGenerationPrompt: true });
        await group.check(`chat ${i}`, async () => compareEqual(rendered, await rendering));
      }
    } finally {
      await tokenizer.dispose();
    }
  });
}

async function checkEncoding(
  tokenizer: Tokenizer,
  { text, ids, ids_no_special, decoded, decoded_with_special }: TokenizerVectors['encodings'][number],
  group: CheckGroup,
): Promise<void> {
  const shown = JSON.stringify(text);
  await group.check(`encoding of ${shown}`, async () =>
    worstOf([
      compareEqual(ids, await tokenizer.encode(text, true)),
      compareEqual(ids_no_special, await tokenizer.encode(text, false)),
    ]),
  );
  await group.check(`decoding of ${shown}`, () =>
    worstOf([
      compareEqual(decoded, tokenizer.decode(ids_no_special, { skipSpecialTokens: true })),
      compareEqual(decoded_with_special, tokenizer.decode(ids, { skipSpecialTokens: false })),
    ]),
  );
}
