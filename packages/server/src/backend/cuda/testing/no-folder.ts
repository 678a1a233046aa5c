/** Cannot be made: every backend compiles its kernels there, and what is compiled is not kept. */
export const NO_FOLDER = '/dev/null/kernels';
