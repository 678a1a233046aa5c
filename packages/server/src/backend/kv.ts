/** Keys and values of all running sequences: a pool of cells, one per token, that backends hold and the engine places. */

export type KvDtype = 'float32' | 'float16';

/** What keys and values are held as. */
export interface KvTypes {
  readonly key: KvDtype;
  readonly value: KvDtype;
}

export interface KvShape {
  readonly layerCount: number;
  /** Cells shared by all sequences. */
  readonly cellCount: number;
  /** `kvHeadCount * headDim`. */
  readonly width: number;
  readonly types: KvTypes;
}

/** Keys and values of all layers go from one cell to another. */
export interface CellMove {
  readonly from: number;
  readonly to: number;
}

export interface KvStore {
  readonly shape: KvShape;
  readonly byteLength: number;
  /** In order; between steps only. */
  moveCells(moves: readonly CellMove[]): void;
  dispose(): void;
}
