/** One JSON log line as people read it: time, level, message, then what else is known. Knows no logger. */

import { inspect } from 'node:util';

const COLOURS: Readonly<Record<string, string>> = { debug: '36', info: '32', warn: '33', error: '31', fatal: '31' };

export function humanLine(json: string, coloured: boolean): string {
  const { time, level, msg, err, ...rest } = parseLine(json);
  const name = String(level).toUpperCase().padStart(5);
  const painted = coloured ? `\u001b[${COLOURS[String(level)] ?? '90'}m${name}\u001b[0m` : name;
  const fields = Object.entries(rest).map(([key, value]) => ` ${key}=${fieldText(value)}`);
  return `${String(time)} ${painted} ${typeof msg === 'string' ? msg : ''}${fields.join('')}\n${errorText(err)}`;
}

function parseLine(json: string): Record<string, unknown> {
  const line: unknown = JSON.parse(json);
  return typeof line === 'object' && line !== null ? { ...line } : { msg: line };
}

function fieldText(value: unknown): string {
  if (typeof value === 'string') return /^[\w./:@+-]+$/.test(value) ? value : JSON.stringify(value);
  return inspect(value, { breakLength: Infinity, depth: 4 });
}

function errorText(err: unknown): string {
  if (typeof err !== 'object' || err === null) return '';
  const text = 'stack' in err ? String(err.stack) : inspect(err);
  return `${text.replace(/^/gm, '    ')}\n`;
}
