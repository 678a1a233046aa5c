/** What the benchmark runs: how many streams, which adapters they name, how long they are. Knows no engine and no clock. */

import { adapterId, type AdapterRecipe } from './random-adapter.ts';

export interface Scenario {
  readonly name: string;
  /** One entry a stream: its adapter, or undefined for the bare base. */
  readonly streams: readonly (AdapterRecipe | undefined)[];
  readonly promptLen: number;
  readonly newTokens: number;
  /** Which steps count: those in which all streams generate, or those that compute prompts. */
  readonly about: 'tokens' | 'prompts';
  readonly over: 'engine' | 'http';
  /** Draws tokens at temperature 0.8 with top-k 50 and top-p 0.95 instead of taking the best. */
  readonly sampled: boolean;
  /** Loaded while the streams generate. */
  readonly loads: AdapterRecipe | undefined;
  /** Name of the scenario whose steps this one's are compared with. */
  readonly baseline: string | undefined;
}

export interface ScenarioSettings {
  readonly streamCounts: readonly number[];
  /** Different adapters; streams beyond take them in turn. */
  readonly adapterCount: number | undefined;
  readonly rank: number;
  readonly promptLen: number;
  readonly newTokens: number;
  readonly engine: boolean;
  readonly http: boolean;
}

/** Prompt of the scenarios in which only generation counts. */
const SHORT_PROMPT_LEN = 8;

/** Prompt of the scenarios that are mostly prompt. */
const LONG_PROMPT_LEN = 128;
const LONG_PROMPT_STREAMS = 2;

/** Base and as many different adapters at each number of streams: run in every round. */
export function comparedScenarios(settings: ScenarioSettings): Scenario[] {
  if (!settings.engine) return [];
  return settings.streamCounts.flatMap((count) => [base(settings, count), different(settings, count)]);
}

/** Run in one round each; what is in one group is compared and stays together. */
export function furtherScenarios(settings: ScenarioSettings): Scenario[][] {
  const most = Math.max(...settings.streamCounts);
  const overEngine = settings.engine ? [...variants(settings, most), longPrompts(settings)] : [];
  const overHttp = settings.http ? [[base(settings, most), different(settings, most)].map(throughHttp)] : [];
  return [...overHttp, ...overEngine];
}

/** Adapters that requests name. */
export function adaptersOf(scenarios: readonly Scenario[]): AdapterRecipe[] {
  const recipes = scenarios.flatMap(({ streams }) => streams.filter((recipe) => recipe !== undefined));
  return [...new Map(recipes.map((recipe) => [adapterId(recipe), recipe])).values()];
}

function variants(settings: ScenarioSettings, count: number): Scenario[][] {
  const { rank } = settings;
  // Their prompts tell nothing new, and would take most of the benchmark's time.
  const promptLen = Math.min(settings.promptLen, SHORT_PROMPT_LEN);
  const all = { ...different(settings, count), promptLen, newTokens: Math.ceil(settings.newTokens / 2) };
  const named = (name: string, change: Partial<Scenario>): Scenario[] => [
    { ...all, name: `${streamsText(count)}, ${name}`, ...change },
  ];
  return [
    named('one adapter', { streams: all.streams.map(() => ({ rank, index: 0 })) }),
    named('mixed ranks', { streams: mixedRanks(rank, count) }),
    named('every other base', { streams: all.streams.map((recipe, index) => (index % 2 ? recipe : undefined)) }),
    named('adapters, sampled', { sampled: true }),
    named('base, loading', { streams: all.streams.map(() => undefined), loads: { rank, index: count } }),
  ];
}

function longPrompts(settings: ScenarioSettings): Scenario[] {
  const change = { promptLen: LONG_PROMPT_LEN, newTokens: 2, about: 'prompts' } as const;
  const name = `${LONG_PROMPT_STREAMS} prompts of ${LONG_PROMPT_LEN}, base`;
  return [
    { ...base(settings, LONG_PROMPT_STREAMS), ...change, name },
    { ...different(settings, LONG_PROMPT_STREAMS), ...change, name: name.replace('base', 'adapters'), baseline: name },
  ];
}

function base({ promptLen, newTokens }: ScenarioSettings, count: number): Scenario {
  return {
    name: `${streamsText(count)}, base`,
    streams: Array.from({ length: count }, () => undefined),
    ...{ promptLen, newTokens, about: 'tokens', over: 'engine', sampled: false, loads: undefined, baseline: undefined },
  };
}

function different(settings: ScenarioSettings, count: number): Scenario {
  const { rank, adapterCount = count } = settings;
  const streams = Array.from({ length: count }, (_, index) => ({ rank, index: index % adapterCount }));
  const named = Math.min(count, adapterCount);
  const name = `${streamsText(count)}, ${named} adapter${named === 1 ? '' : 's'}`;
  const plain = base(settings, count);
  return { ...plain, name, streams, baseline: plain.name };
}

function streamsText(count: number): string {
  return count === 1 ? '1 stream' : `${count} streams`;
}

/** A quarter of the rank to four times it, neighbours different, so that none share a product. */
function mixedRanks(rank: number, count: number): AdapterRecipe[] {
  const ranks = [rank / 4, rank / 2, rank, rank * 2, rank * 4].map((value) => Math.max(1, Math.round(value)));
  return Array.from({ length: count }, (_, i) => ({
    rank: ranks[i % ranks.length]!,
    index: Math.floor(i / ranks.length),
  }));
}

function throughHttp(scenario: Scenario): Scenario {
  const { name, baseline } = scenario;
  return { ...scenario, over: 'http', name: `HTTP, ${name}`, baseline: baseline && `HTTP, ${baseline}` };
}
