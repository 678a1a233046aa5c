/** What generation a card is of, which decides what kernels are compiled for and may do. */

/** Compute capability: 9 and 0 for Hopper. */
export interface Architecture {
  readonly major: number;
  readonly minor: number;
}

export function isHopper({ major, minor }: Architecture): boolean {
  return major === 9 && minor === 0;
}

export function architectureName({ major, minor }: Architecture): string {
  return `sm_${major}${minor}`;
}

/** What kernels are compiled for: Hopper with what only it has. */
export function compileTarget(architecture: Architecture): string {
  return `${architectureName(architecture)}${isHopper(architecture) ? 'a' : ''}`;
}
