/**
 * The special tokens that the `post_processor` section of tokenizer.json puts before and after a text. Knows nothing
 * about encoding; the ids come from the section itself, where the library would look names up in the vocabulary.
 */
import { z } from 'zod';

export interface SpecialFrame {
  readonly before: readonly number[];
  readonly after: readonly number[];
  /** Whether token offsets leave out the white space around a token. */
  readonly trimsOffsets: boolean;
}

const EMPTY: SpecialFrame = { before: [], after: [], trimsOffsets: false };

const typed = z.looseObject({ type: z.string() });
const named = z.tuple([z.string(), z.int()]);
const clsSep = z.object({ cls: named, sep: named, trim_offsets: z.boolean().default(true) });
const templateConfig = z.object({
  single: z.array(
    z.union([
      z.object({ SpecialToken: z.object({ id: z.string() }) }),
      z.object({ Sequence: z.object({ id: z.string() }) }),
    ]),
  ),
  special_tokens: z.record(z.string(), z.object({ ids: z.array(z.int()) })).default({}),
});

/** Throws on an unknown type or a malformed section. */
export function specialFrameOf(config: unknown): SpecialFrame {
  if (config === null || config === undefined) return EMPTY;
  const { type, ...rest } = typed.parse(config);
  switch (type) {
    case 'TemplateProcessing':
      return template(templateConfig.parse(rest));
    case 'BertProcessing': {
      const { cls, sep } = clsSep.parse(rest);
      return { before: [cls[1]], after: [sep[1]], trimsOffsets: false };
    }
    case 'RobertaProcessing': {
      const { cls, sep, trim_offsets } = clsSep.parse(rest);
      return { before: [cls[1]], after: [sep[1]], trimsOffsets: trim_offsets };
    }
    case 'ByteLevel':
      return { ...EMPTY, trimsOffsets: z.object({ trim_offsets: z.boolean().default(true) }).parse(rest).trim_offsets };
    case 'Sequence':
      return z
        .object({ processors: z.array(z.unknown()) })
        .parse(rest)
        .processors.map(specialFrameOf)
        .reduce(around, EMPTY);
    default:
      throw new Error(`post-processor type ${type} is not supported`);
  }
}

function template(config: z.infer<typeof templateConfig>): SpecialFrame {
  const before: number[] = [];
  const after: number[] = [];
  let sequenceCount = 0;
  for (const item of config.single) {
    if ('Sequence' in item) {
      sequenceCount += 1;
      continue;
    }
    const token = config.special_tokens[item.SpecialToken.id];
    if (token === undefined) throw new Error(`the template's token ${item.SpecialToken.id} has no ids`);
    (sequenceCount === 0 ? before : after).push(...token.ids);
  }
  if (sequenceCount !== 1) throw new Error('a template must place the text exactly once');
  return { before, after, trimsOffsets: false };
}

function around(inner: SpecialFrame, outer: SpecialFrame): SpecialFrame {
  return {
    before: [...outer.before, ...inner.before],
    after: [...inner.after, ...outer.after],
    trimsOffsets: inner.trimsOffsets || outer.trimsOffsets,
  };
}
