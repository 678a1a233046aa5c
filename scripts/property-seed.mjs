/**
 * Property tests look at the same cases in every run, so that a run can be repeated; `npm test -- --seed=N` looks at
 * others. A test with a seed of its own keeps it.
 */
import fc from 'fast-check';

fc.configureGlobal({ seed: Number(new URL(import.meta.url).searchParams.get('seed') ?? 1) });
