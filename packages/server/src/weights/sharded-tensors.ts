/** Several tensor files as one. Owns the files; knows nothing about how they were found. */
import { fileFault, shown } from './file-fault.ts';
import type { TensorFile, TensorView } from './tensor-view.ts';

export interface Shard {
  readonly path: string;
  readonly tensors: TensorFile;
}

export class ShardedTensors implements TensorFile {
  readonly names: readonly string[];
  readonly byteLength: number;
  readonly #shards: readonly Shard[];
  readonly #byName: ReadonlyMap<string, TensorFile>;

  /** Opens all shards, or none: where one fails, those before it are closed. */
  static open(paths: readonly string[], open: (path: string) => TensorFile): ShardedTensors {
    const shards: Shard[] = [];
    try {
      for (const path of paths) shards.push({ path, tensors: open(path) });
      return new ShardedTensors(shards);
    } catch (error) {
      for (const { tensors } of shards) tensors.dispose();
      throw error;
    }
  }

  private constructor(shards: readonly Shard[]) {
    this.#shards = shards;
    this.#byName = indexByName(shards);
    this.names = [...this.#byName.keys()];
    this.byteLength = shards.reduce((sum, { tensors }) => sum + tensors.byteLength, 0);
  }

  get(name: string): TensorView | undefined {
    return this.#byName.get(name)?.get(name);
  }

  dispose(): void {
    for (const { tensors } of this.#shards) tensors.dispose();
  }
}

/** A tensor in two shards is a fault: nothing says which one counts. */
function indexByName(shards: readonly Shard[]): Map<string, TensorFile> {
  const byName = new Map<string, TensorFile>();
  for (const { path, tensors } of shards) {
    for (const name of tensors.names) {
      if (byName.has(name)) throw fileFault(path, `tensor ${shown(name)} is in another shard too`);
      byName.set(name, tensors);
    }
  }
  return byName;
}
