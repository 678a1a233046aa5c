/**
 * A product whose matrix streams through shared memory, for Hopper, and what it makes of its outputs on their way out, once somebody
 * asks: a gated product, or a sum, ready for the product after the norm of that sum. Knows nothing about what it is for.
 */

import { NULL, type Pointer } from '../../native/ffi.ts';
import { ELEMENT_TYPE } from './element-types.ts';
import type { Scalar } from './launch-parameters.ts';
import type { Program } from './program.ts';
import { canAdd, ResidualSum } from './residual-sum.ts';
import { Rounding, type Operand } from './rounding.ts';
import type { Slab } from './slab.ts';
import { mapColumns, mapRows } from './stream-maps.ts';
import { fitsStream, planStream, type StreamPlan, type StreamShape } from './stream-plan.ts';
import type { HalfDtype } from './tensor-map.ts';
import type { Summand } from './summand.ts';
import type { CudaValue } from './values.ts';

export interface StreamedMatrix {
  readonly weight: Pointer;
  readonly dtype: HalfDtype;
  readonly inFeatures: number;
  readonly outFeatures: number;
}

/** What is added to products before anything else becomes of them. */
export interface Addend {
  /** `[columns, out]` float32. */
  readonly values: Slab;
  /** Of 64 bits, one for each column: whether there is anything. */
  readonly columns: Slab;
}

export interface StreamedInput {
  readonly operand: Operand;
  readonly addend: Addend | undefined;
  /** Rows of activations. */
  readonly columns: number;
}

interface Gated {
  readonly y: Slab;
  readonly rounded: Rounding;
}

/** Where outputs go: float32 as far as somebody needs them, and in the matrix's type; and what else becomes of them. */
interface Outputs {
  readonly y: Pointer;
  readonly rounded: Pointer;
  /** Of kernels for pairs of blocks. */
  readonly epilogue: readonly [residual: Pointer, weights: Pointer, squares: Pointer];
}

const NO_EPILOGUE = [NULL, NULL, NULL] as const;

export class StreamedProduct implements Summand {
  readonly #program: Program;
  readonly #operand: Operand;
  readonly #addend: Addend | undefined;
  readonly #matrix: StreamedMatrix;
  readonly #shape: StreamShape;
  readonly #plan: StreamPlan;
  readonly #y: Slab;
  readonly #operation: number;
  #gated: Gated | undefined;
  #sum: ResidualSum | undefined;

  /** `y` is `[columns, out]` float32, where somebody needs it. */
  constructor(program: Program, { operand, addend, columns }: StreamedInput, matrix: StreamedMatrix, y: Slab) {
    this.#program = program;
    this.#operand = operand;
    this.#addend = addend;
    this.#matrix = matrix;
    this.#shape = { ...matrix, columns, isGated: false };
    this.#plan = this.#planOf(this.#shape);
    this.#y = y;
    const { factors } = operand;
    const inputs = [operand.slab, factors?.squares, addend?.values, addend?.columns];
    this.#operation = program.add(
      inputs.filter((slab) => slab !== undefined),
      () => this.#run(),
    );
    program.extend(y, this.#operation, true);
  }

  /** Whether nobody has named its outputs yet, so that it may do without them. */
  get isUntouched(): boolean {
    return !this.#y.isNeeded;
  }

  /** Whether its halves can stream side by side. */
  get canGate(): boolean {
    return fitsStream({ ...this.#shape, outFeatures: this.#shape.outFeatures / 2 });
  }

  /** `silu(first half of the outputs) * second half` goes to `y`, `[columns, out / 2]`, and is written in the matrix's type where asked. */
  gate(y: Slab): Rounding {
    const rounded = new Rounding(
      this.#program,
      (this.#shape.columns * this.#shape.outFeatures) / 2,
      this.#matrix.dtype,
    );
    rounded.writtenBy(this.#operation);
    this.#program.extend(y, this.#operation, true);
    this.#gated = { y, rounded };
    return rounded;
  }

  takes(residual: CudaValue): boolean {
    return this.isUntouched && this.#plan.isInPairs && canAdd(residual, this.#operation);
  }

  add(residual: CudaValue, y: Slab): void {
    this.#sum = new ResidualSum(this.#program, this.#operation, residual, y);
  }

  /** The kernel writes the matrix's type. */
  scale(weights: Pointer, epsilon: number): Operand | undefined {
    const [parts] = this.#plan.grid.blocks;
    return this.#matrix.dtype === 'bfloat16' ? this.#sum?.scale(weights, epsilon, parts) : undefined;
  }

  #run(): void {
    if (!this.isUntouched) this.#launch(this.#shape, { y: this.#y.address, rounded: NULL, epilogue: NO_EPILOGUE });
    if (this.#gated) {
      const { y, rounded } = this.#gated;
      const outputs = { y: y.isNeeded ? y.address : NULL, rounded: rounded.address, epilogue: NO_EPILOGUE };
      this.#launch({ ...this.#shape, outFeatures: this.#shape.outFeatures / 2, isGated: true }, outputs);
    }
    if (this.#sum) {
      const { y, residual, weights, scaled, squares } = this.#sum.places;
      this.#launch(this.#shape, { y, rounded: scaled, epilogue: [residual, weights, squares] });
    }
  }

  #launch(shape: StreamShape, { y, rounded, epilogue }: Outputs): void {
    const { device, stream } = this.#program;
    const { dtype, weight } = this.#matrix;
    const { slab, offset } = this.#operand;
    const plan = this.#planOf(shape);
    const rows = mapRows(device.driver, { address: weight, dtype }, shape, plan);
    const columns = mapColumns(device.driver, { address: slab.address + BigInt(offset), dtype }, shape, plan);
    device.kernels.launch(
      ...([stream.handle, plan.kernel, plan.grid, rows, columns, ELEMENT_TYPE[dtype]] as const),
      ...[y, rounded, shape.columns, shape.inFeatures, shape.outFeatures],
      ...[...(plan.isInPairs ? [] : [Number(shape.isGated)]), plan.passUnits, plan.stageCount],
      ...[...this.#factors(), ...this.#addends(), ...(plan.isInPairs ? epilogue : [])],
    );
  }

  #factors(): Scalar[] {
    const { factors } = this.#operand;
    return factors ? [factors.squares.address, factors.parts, factors.epsilon] : [NULL, 0, 0];
  }

  #addends(): Scalar[] {
    return this.#addend ? [this.#addend.values.address, this.#addend.columns.address] : [NULL, NULL];
  }

  #planOf(shape: StreamShape): StreamPlan {
    return planStream(shape, this.#program.device.properties.multiprocessorCount);
  }
}
