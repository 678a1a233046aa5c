/** Some of a file's tensors as a file of their own. Leaves the file to its owner. */

import type { TensorFile, TensorView } from './tensor-view.ts';

/** The tensors whose names pass; disposing of the subset does nothing. */
export function subsetOf(file: TensorFile, belongs: (name: string) => boolean): TensorFile {
  return {
    names: file.names.filter(belongs),
    byteLength: file.byteLength,
    get: (name): TensorView | undefined => (belongs(name) ? file.get(name) : undefined),
    dispose: () => undefined,
  };
}
