import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { after, before, test } from 'node:test';
import { QUIET_DEMO_ARGS } from './demo.ts';
import { LoraxServer, runCommand } from './lorax-process.ts';
import { outputPattern, shownCommands, withoutVarying } from './shown-commands.ts';
import { inRepository } from './repository.ts';

const SHOWN = shownCommands(readFileSync(inRepository('README.md'), 'utf8')).filter(({ command }) =>
  command.startsWith('curl '),
);

let server: LoraxServer;
before(async () => {
  server = await LoraxServer.start(QUIET_DEMO_ARGS);
});
after(() => server.stop());

test('npm start serves the demo model on port 3000, and the README shows curl lines for it', () => {
  const { scripts } = JSON.parse(readFileSync(inRepository('package.json'), 'utf8')) as { scripts: { start: string } };
  assert.match(scripts.start, /lorax\.js serve --demo$/);
  assert.ok(SHOWN.length > 0);
  for (const { command } of SHOWN) assert.match(command, /https?:\/\/(?:localhost|127\.0\.0\.1):3000\//);
});

for (const { command, output } of SHOWN) {
  test(`the README's ${command.replaceAll('\n', ' ')}`, async () => {
    assert.notEqual(output, '', 'its output is shown');
    const toServer = command.replaceAll(/https?:\/\/(?:localhost|127\.0\.0\.1):3000/g, server.url);
    const { code, stdout, stderr } = await runCommand('sh', ['-c', toServer]);
    assert.equal(code, 0, stderr);
    assert.match(withoutVarying(stdout), outputPattern(output));
  });
}
