/** What can be measured on a card, by name. */

export const PARTS = ['decode', 'prefill', 'adapters', 'drafting', 'http'] as const;

export type Part = (typeof PARTS)[number];
