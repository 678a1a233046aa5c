/** The default benchmark: scenarios in alternation over one engine, their summaries and what they reach. */

import type { RunningServer } from '#server/api/server.ts';
import { openBenchEngine, prepareFiles, type BenchEngine } from './bench-engine.ts';
import { streamFromEngine } from './engine-run.ts';
import { openServer, streamThroughHttp } from './http-run.ts';
import { describeMachine, loadAverage } from './machine.ts';
import type { BenchOptions } from './options.ts';
import { adapterId, type AdapterRecipe } from './random-adapter.ts';
import { machineText, summaryTable, type Reporter } from './report.ts';
import { measure, type Run } from './run.ts';
import { adaptersOf, comparedScenarios, furtherScenarios, type Scenario } from './scenario.ts';
import { parameterCount } from './shapes.ts';
import { summarise } from './summary.ts';
import { checkTargets, targetText } from './targets.ts';

export async function compareScenarios(options: BenchOptions, reporter: Reporter): Promise<void> {
  const compared = comparedScenarios(options.scenarios);
  const further = furtherScenarios(options.scenarios);
  const scenarios = [...compared, ...further.flat()];
  const adapters = adaptersOf(scenarios);
  const loadedLater = scenarios.flatMap(({ loads }) => loads ?? []);
  const folder = prepareFiles(options, [...adapters, ...loadedLater]);
  const bench = await openBenchEngine(options, folder);
  const server = await openServer(bench);
  try {
    announce(options, bench, reporter);
    await loadAdapters(bench, adapters);
    const runs = await runRounds({ bench, server, rounds: options.repeat }, reporter, compared, further);
    report(scenarios, runs, reporter);
  } finally {
    await server.close();
    await bench.engine.dispose();
  }
}

function announce(options: BenchOptions, { engine }: BenchEngine, reporter: Reporter): void {
  const machine = describeMachine(engine.backend.description);
  const { shape, dtype, precision, scenarios, cache } = options;
  const billions = (parameterCount(shape) / 1e9).toFixed(2);
  reporter.say(machineText(machine));
  reporter.say(
    `${shape.name} (${billions} B parameters) ${dtype}, matmul precision ${precision}, rank ${scenarios.rank}, prompts of ${scenarios.promptLen}, ` +
      `${scenarios.newTokens} new tokens, ${options.repeat} rounds; load average ${loadAverage().toFixed(1)}`,
  );
  reporter.say(`random model and adapters are kept in ${cache}\n`);
  reporter.record('machine', { ...machine, options });
}

/** So that no scenario pays for what another finds resident. */
async function loadAdapters({ engine }: BenchEngine, adapters: readonly AdapterRecipe[]): Promise<void> {
  const { signal } = new AbortController();
  for (const recipe of adapters) {
    const lease = await engine.adapters.acquire({ id: adapterId(recipe), source: 'local' }, signal);
    lease.release();
  }
}

interface Place {
  readonly bench: BenchEngine;
  readonly server: RunningServer;
  readonly rounds: number;
}

/** Every round runs the compared scenarios, back and forth so that a drift of the machine's speed cancels, and some others. */
async function runRounds(
  place: Place,
  reporter: Reporter,
  compared: readonly Scenario[],
  further: readonly (readonly Scenario[])[],
): Promise<Run[]> {
  const runs: Run[] = [];
  const { rounds } = place;
  if (compared[0]) await runOnce(place, compared[0], -1);
  for (let round = 0; round < rounds; round++) {
    const ordered = round % 2 === 0 ? compared : compared.toReversed();
    const others = further.filter((_, index) => index % rounds === round).flat();
    for (const scenario of [...ordered, ...others]) {
      process.stderr.write(`round ${round + 1} of ${rounds}: ${scenario.name}\n`);
      const run = await runOnce(place, scenario, round);
      reporter.record('run', run);
      runs.push(run);
    }
  }
  return runs;
}

function runOnce({ bench, server }: Place, scenario: Scenario, round: number): Promise<Run> {
  const { engine, recorder } = bench;
  const { vocabSize } = engine.model.description.decoder;
  return measure(bench, scenario, round, async () => {
    const loaded = scenario.loads && recorder.nextDecode().then(() => loadAdapters(bench, [scenario.loads!]));
    const streams =
      scenario.over === 'http'
        ? await streamThroughHttp(server.port, scenario, vocabSize)
        : await streamFromEngine(engine.generator, scenario, vocabSize);
    await loaded;
    return streams;
  });
}

function report(scenarios: readonly Scenario[], runs: readonly Run[], reporter: Reporter): void {
  const summaries = scenarios.map((scenario) => summarise(scenario, runs));
  const targets = checkTargets(summaries);
  reporter.say(summaryTable(summaries));
  reporter.say('');
  for (const target of targets) reporter.say(targetText(target));
  for (const { scenario, adapterLoadMs } of summaries) {
    for (const ms of adapterLoadMs)
      reporter.say(`${scenario.name}: one adapter loaded meanwhile in ${ms.toFixed(0)} ms`);
  }
  reporter.say(`load average ${loadAverage().toFixed(1)}`);
  for (const summary of summaries) reporter.record('scenario', summary);
  for (const target of targets) reporter.record('target', target);
}
