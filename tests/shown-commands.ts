/**
 * The commands that a page shows with their output: fenced `console` blocks in which a line that begins with `$ ` is a
 * command, continued after a backslash or inside quotes, and what follows is its output. There `...` stands for anything.
 */

export interface ShownCommand {
  readonly command: string;
  readonly output: string;
}

export interface ShownSection {
  readonly title: string;
  /** In the order in which they are meant to be run. */
  readonly commands: readonly ShownCommand[];
}

const CONSOLE_BLOCK = /^```console\n(.*?)^```$/gms;

export function shownCommands(markdown: string): ShownCommand[] {
  return [...markdown.matchAll(CONSOLE_BLOCK)].flatMap(([, block = '']) => commandsOf(block));
}

/** The parts of a page below its headings of second level that show commands. */
export function shownSections(markdown: string): ShownSection[] {
  const sections = markdown.split(/^## /m).slice(1);
  return sections
    .map((text) => ({ title: text.slice(0, text.indexOf('\n')), commands: shownCommands(text) }))
    .filter(({ commands }) => commands.length > 0);
}

function commandsOf(block: string): ShownCommand[] {
  return block
    .split(/^\$ /m)
    .slice(1)
    .map((part) => {
      const lines = part.split('\n');
      const length = lines.findIndex((_, index) => isWhole(lines.slice(0, index + 1).join('\n'))) + 1;
      return { command: lines.slice(0, length).join('\n'), output: lines.slice(length).join('\n').trim() };
    });
}

/** Whether a shell would run it instead of asking for more. */
function isWhole(command: string): boolean {
  const quotes = command.split("'").length - 1;
  return quotes % 2 === 0 && !command.endsWith('\\');
}

/** What differs from one answer, or one processor, to the next, in the same words on both sides. */
export function withoutVarying(output: string): string {
  return output
    .replaceAll('\r', '')
    .replaceAll(/"(created|last_used|retry_at)":\d+/g, '"$1":0')
    .replaceAll(/"(cmpl|chatcmpl)-[0-9a-f]+"/g, '"$1"')
    .replaceAll(/"skipped":(true|false)/g, '"skipped":null')
    .replaceAll(/"skipped_tokens":\d+/g, '"skipped_tokens":0')
    .replaceAll(/"logprob":(-?[\d.e-]+)/g, (_, logprob: string) => `"logprob":${Number(logprob).toFixed(2)}`)
    .trim();
}

export function outputPattern(output: string): RegExp {
  const parts = withoutVarying(output)
    .split('...')
    .map((text) => text.replaceAll(/[\\^$.*+?()[\]{}|]/g, String.raw`\$&`));
  return new RegExp(`^${parts.join('.*')}$`, 's');
}
