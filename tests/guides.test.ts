import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { test } from 'node:test';
import { canRun, GuideReader } from './guide-reader.ts';
import { inRepository } from './repository.ts';
import { outputPattern, shownSections, withoutVarying } from './shown-commands.ts';

const GUIDES = readdirSync(inRepository('docs/guides')).filter((name) => name.endsWith('.md'));

test('there are guides that show commands', () => {
  assert.ok(GUIDES.some((name) => sectionsOf(name).length > 0));
});

for (const name of GUIDES) {
  for (const { title, commands } of sectionsOf(name)) {
    // Where Swift or Python's client is not installed, what shows them cannot be tried.
    if (!commands.every(({ command }) => canRun(command))) continue;
    test(`${name}: ${title}`, async () => {
      const reader = new GuideReader();
      try {
        for (const { command, output } of commands) {
          assert.match(withoutVarying(await reader.run(command)), outputPattern(output), command);
        }
      } finally {
        await reader.stop();
      }
    });
  }
}

function sectionsOf(name: string): ReturnType<typeof shownSections> {
  return shownSections(readFileSync(inRepository(`docs/guides/${name}`), 'utf8'));
}
