/** Lets other work go on until something is true, and fails instead of waiting for ever. Looks at no clock. */

const MAX_TURNS = 100_000;

export async function until(condition: () => boolean, what: string): Promise<void> {
  for (let turn = 0; !condition(); turn++) {
    if (turn === MAX_TURNS) throw new Error(`waited in vain until ${what}`);
    await new Promise((resolve) => setImmediate(resolve));
  }
}
