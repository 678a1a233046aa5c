/**
 * Says whether the `decoder` section of a stranger's tokenizer may run on the event loop: its work must be bounded by the
 * text that goes in, and the text that comes out must not be longer. Knows nothing about what decoders do otherwise.
 */
import { z } from 'zod';
import type { DecodeTable } from './token-decoder.ts';

const MAX_STEPS = 32;
const MAX_SECTION_LEN = 64 * 1024;
/** Characters. The longest of real vocabularies are runs of 128 spaces or dashes. */
const MAX_PIECE_LEN = 512;
const MAX_PIECES_LEN = 32 << 20;

const typed = z.looseObject({ type: z.string() });
const steps = z.looseObject({ decoders: z.array(z.unknown()) });
const replace = z.looseObject({ pattern: z.object({ String: z.string().min(1) }), content: z.string() });
const metaspace = z.looseObject({ replacement: z.string().min(1).default('▁') });
const suffixed = z.looseObject({ suffix: z.string().min(1).default('</w>') });

/** Throws an error that says what is beyond the bounds. */
export function checkDecoderBounds({ decoder, pieces, ends }: Pick<DecodeTable, 'decoder' | 'pieces' | 'ends'>): void {
  const longest = ends.reduce((length, end, id) => Math.max(length, end - (ends[id - 1] ?? 0)), 0);
  if (longest > MAX_PIECE_LEN)
    throw new Error(`a token has ${longest} characters; at most ${MAX_PIECE_LEN} are allowed`);
  if (pieces.length > MAX_PIECES_LEN) throw new Error(`its tokens have more than ${MAX_PIECES_LEN} characters`);
  if (decoder.length > MAX_SECTION_LEN) throw new Error(`its decoder has more than ${MAX_SECTION_LEN} characters`);
  if (countSteps(JSON.parse(decoder)) > MAX_STEPS) throw new Error(`its decoder has more than ${MAX_STEPS} steps`);
}

function countSteps(section: unknown): number {
  if (section === null || section === undefined) return 0;
  switch (typed.parse(section).type) {
    case 'Sequence':
      return steps.parse(section).decoders.reduce<number>((sum, step) => sum + countSteps(step), 1);
    case 'Replace':
      checkReplace(section);
      return 1;
    case 'Metaspace':
      metaspace.parse(section);
      return 1;
    case 'BPEDecoder':
      suffixed.parse(section);
      return 1;
    default:
      return 1;
  }
}

function checkReplace(section: unknown): void {
  const parsed = replace.safeParse(section);
  if (!parsed.success) throw new Error('its decoder replaces something other than a plain text');
  const { pattern, content } = parsed.data;
  if (content.length > pattern.String.length) throw new Error('its decoder replaces texts by longer ones');
}
