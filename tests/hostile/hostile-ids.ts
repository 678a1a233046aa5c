/** Ids that try to become something else: paths out of the root, addresses, text that file systems and logs misread. */

export interface HostileId {
  readonly id: string;
  readonly source?: 'local' | 'hub';
  readonly status: 403 | 404 | 422;
}

const OUT: readonly string[] = [
  '..',
  '../base',
  '../../etc/passwd',
  '/etc',
  '/etc/passwd',
  '/proc/self/cwd',
  'good/../../base',
  'good/..',
  'good/../good',
  '//etc/passwd',
];

const NOWHERE: readonly string[] = [
  '%2e%2e/base',
  '..%2fbase',
  '%2fetc%2fpasswd',
  '~',
  '~root',
  '$HOME',
  '`id`',
  '$(id)',
  '; id',
  'file:///etc/passwd',
  'http://169.254.169.254/latest/meta-data',
  '__proto__',
  'constructor',
  'gооd', // Cyrillic
  '．．／base', // full width
  '\u202egood',
  'good\u200b',
  'x'.repeat(300),
  'x/'.repeat(500),
];

/** Text that is no id, and a link that leads to its own folder. */
const UNREADABLE: readonly string[] = [
  'good\0',
  '../base\0.safetensors',
  'good\n',
  '\u001b[2Jgood',
  '\ud800',
  '..\\base',
  'C:\\windows',
  'c:good',
  'x'.repeat(5000),
  '\u2028',
  'circle/circle/circle/circle',
];

const NOT_ON_THE_HUB: readonly string[] = [
  '../x',
  'org/../x',
  'org/..',
  'a/b/c/d',
  '/etc/passwd',
  'org/name@../../x',
  'org/name@',
  'http://169.254.169.254/x',
  '@main',
  '-org/-name',
  'org/na me',
  'org/..%2f..%2fx',
  'x'.repeat(3000),
  'org/name?x=1#y',
];

export const HOSTILE_IDS: readonly HostileId[] = [
  ...OUT.map((id): HostileId => ({ id, status: 403 })),
  ...NOWHERE.map((id): HostileId => ({ id, status: 404 })),
  ...UNREADABLE.map((id): HostileId => ({ id, status: 422 })),
  ...NOT_ON_THE_HUB.map((id): HostileId => ({ id, source: 'hub', status: 422 })),
];
