/**
 * The commands that the README shows with their output: fenced `console` blocks in which a line that begins with `$ ` is a
 * command (continued after a backslash) and what follows is its output. In the output `...` stands for anything.
 */

export interface ShownCommand {
  readonly command: string;
  readonly output: string;
}

const CONSOLE_BLOCK = /^```console\n(.*?)^```$/gms;

export function shownCommands(markdown: string): ShownCommand[] {
  return [...markdown.matchAll(CONSOLE_BLOCK)].flatMap(([, block = '']) => commandsOf(block));
}

function commandsOf(block: string): ShownCommand[] {
  return block
    .split(/^\$ /m)
    .slice(1)
    .map((part) => {
      const [command = ''] = /^(?:.*\\\n)*.*(?:\n|$)/.exec(part) ?? [];
      return { command: command.trim(), output: part.slice(command.length).trim() };
    });
}

/** What differs from one answer to the next, in the same words on both sides. */
export function withoutVarying(output: string): string {
  return output
    .replaceAll(/"created":\s*\d+/g, '"created":0')
    .replaceAll(/"(id)":\s*"(cmpl|chatcmpl)-[0-9a-f]+"/g, '"$1":"$2"')
    .replaceAll(/\d+\.\d+ a second/g, '0 a second')
    .trim();
}

export function outputPattern(output: string): RegExp {
  const parts = withoutVarying(output)
    .split('...')
    .map((text) => text.replaceAll(/[\\^$.*+?()[\]{}|]/g, String.raw`\$&`));
  return new RegExp(`^${parts.join('.*')}$`, 's');
}
