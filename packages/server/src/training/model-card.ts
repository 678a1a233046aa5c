/** The model card of trained heads: what they are, how they were trained, how well they guess. Pure text. */

import type { HeadFigures } from './scores.ts';

export interface CardFacts {
  readonly baseModelId: string;
  readonly adapterId: string | undefined;
  readonly headCount: number;
  readonly layerCount: number;
  readonly ownOutput: boolean;
  readonly sampleCount: number;
  readonly tokenCount: number;
  readonly updateCount: number;
  readonly evaluationSampleCount: number;
  /** Of the weights as they are saved; undefined where nothing was kept for evaluation. */
  readonly evaluation: readonly HeadFigures[] | undefined;
  /** As flags of the command. */
  readonly settings: Readonly<Record<string, string>>;
}

export function modelCard(facts: CardFacts, curveImage: string): string {
  const { baseModelId, adapterId, headCount, ownOutput } = facts;
  const composite = adapterId === undefined ? '' : `, to be used with the LoRA adapter \`${adapterId}\` beside them`;
  const front = ['---', `base_model: ${JSON.stringify(baseModelId)}`, 'tags:', '- medusa', '---'].join('\n');
  const sections = [
    front,
    '# Medusa heads',
    `${headCount} heads that guess tokens ahead of \`${baseModelId}\`${composite}. ${outputSentence(ownOutput)}`,
    'Guesses are checked by the base model: they make answers come sooner and never change them.',
    '## How well they guess',
    accuracy(facts),
    '## Training',
    trained(facts),
    table(
      ['setting', 'value'],
      Object.entries(facts.settings).map(([flag, value]) => [`\`${flag}\``, value]),
    ),
    `![loss of each head over the updates](${curveImage})`,
  ];
  return `${sections.join('\n\n')}\n`;
}

function outputSentence(ownOutput: boolean): string {
  return ownOutput
    ? 'Each head has an output layer of its own (Medusa version 1).'
    : "All use the base model's own output layer (Medusa version 2).";
}

function accuracy({ evaluation, evaluationSampleCount }: CardFacts): string {
  if (evaluation === undefined) return 'Not measured: no samples were kept for evaluation.';
  const percent = (share: number | null): string => (share === null ? '' : `${(100 * share).toFixed(1)} %`);
  const rows = evaluation.map(({ loss, top1, top5 }, head) => [
    ...[String(head), String(head + 2)],
    ...[percent(top1), percent(top5), loss?.toFixed(3) ?? ''],
  ]);
  const caption = `On ${evaluationSampleCount} samples that were kept apart, with the weights as they are saved:`;
  return `${caption}\n\n${table(['head', 'tokens ahead', 'first guess', 'among five', 'loss'], rows)}`;
}

function trained({ sampleCount, tokenCount, updateCount }: CardFacts): string {
  const tokens = tokenCount.toLocaleString('en-US');
  return `On ${sampleCount} samples with ${tokens} tokens of answers to learn from, in ${updateCount} updates.`;
}

function table(header: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]): string => `| ${cells.join(' | ')} |`;
  return [line(header), line(header.map(() => '---')), ...rows.map(line)].join('\n');
}
