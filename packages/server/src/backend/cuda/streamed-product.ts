/**
 * A product whose matrix streams through shared memory, for Hopper, and what it makes of its outputs on their way out, once somebody
 * asks: a gated product, or a sum, ready for the product after the norm of that sum. Knows nothing about what it is for.
 */

import { assert } from '../../base/assert.ts';
import { NULL, type Pointer } from '../../native/ffi.ts';
import { ELEMENT_TYPE } from './element-types.ts';
import type { Scalar } from './launch-parameters.ts';
import type { Program } from './program.ts';
import { claimOperand, Rounding, type Operand } from './rounding.ts';
import type { Slab } from './slab.ts';
import { mapColumns, mapRows } from './stream-maps.ts';
import { planStream, type StreamPlan, type StreamShape } from './stream-plan.ts';
import type { HalfDtype } from './tensor-map.ts';
import type { Summand } from './summand.ts';
import { FLOAT_BYTES, isDense, type CudaValue } from './values.ts';

/** Of a matrix, whose rows are counted in eights. */
const OCTET = 8;

export interface StreamedMatrix {
  readonly weight: Pointer;
  readonly dtype: HalfDtype;
  readonly inFeatures: number;
  readonly outFeatures: number;
}

interface Gated {
  readonly y: Slab;
  readonly rounded: Rounding;
}

interface Sum {
  readonly y: Slab;
  readonly residual: CudaValue;
  /** What the next product multiplies, times a norm's weights. */
  scaled?: { readonly operand: Operand; readonly weights: Pointer; readonly squares: Slab };
}

/** Where outputs go, each as far as somebody needs it, and what else it takes. */
interface Outputs {
  readonly y: Slab;
  readonly rounded: Pointer;
  /** Residual, a norm's weights and where squares go: of kernels for pairs of blocks. */
  readonly epilogue: readonly [residual: Pointer, weights: Pointer, squares: Pointer];
}

const NO_EPILOGUE = [NULL, NULL, NULL] as const;

export class StreamedProduct implements Summand {
  readonly #program: Program;
  readonly #operand: Operand;
  readonly #matrix: StreamedMatrix;
  readonly #shape: StreamShape;
  readonly #plan: StreamPlan;
  readonly #y: Slab;
  readonly #operation: number;
  #gated: Gated | undefined;
  #sum: Sum | undefined;

  /** `y` is `[columns, out]` float32, where somebody needs it. */
  constructor(program: Program, operand: Operand, matrix: StreamedMatrix, y: Slab, columns: number) {
    this.#program = program;
    this.#operand = operand;
    this.#matrix = matrix;
    this.#shape = { ...matrix, columns, isGated: false };
    this.#plan = this.#planOf(this.#shape);
    this.#y = y;
    const inputs = operand.factors ? [operand.slab, operand.factors.squares] : [operand.slab];
    this.#operation = program.add(inputs, () => this.#run());
    program.extend(y, this.#operation, true);
  }

  /** Whether nobody has named its outputs yet, so that it may do without them. */
  get isUntouched(): boolean {
    return !this.#y.isNeeded;
  }

  /** Whether its outputs have halves. */
  get canGate(): boolean {
    return this.#shape.outFeatures % (2 * OCTET) === 0;
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
    return this.isUntouched && this.#plan.isInPairs && isDense(residual) && residual.slab.last < this.#operation;
  }

  add(residual: CudaValue, y: Slab): void {
    assert(this.takes(residual), 'what is added was there before the product');
    this.#program.extend(residual.slab, this.#operation);
    this.#program.extend(y, this.#operation, true);
    this.#sum = { y, residual };
  }

  scale(weights: Pointer, epsilon: number): Operand | undefined {
    const { dtype } = this.#matrix;
    if (this.#sum === undefined || dtype !== 'bfloat16') return undefined;
    const { columns, outFeatures } = this.#shape;
    const [parts] = this.#plan.grid.blocks;
    const squares = this.#program.claim(columns * parts * FLOAT_BYTES);
    const factors = { squares, parts, epsilon };
    const operand = { ...claimOperand(this.#program, columns * outFeatures, dtype, 'medium'), factors };
    for (const slab of [squares, operand.slab]) this.#program.extend(slab, this.#operation);
    this.#sum.scaled = { operand, weights, squares };
    return operand;
  }

  #run(): void {
    if (this.#y.isNeeded) this.#launch(this.#shape, { y: this.#y, rounded: NULL, epilogue: NO_EPILOGUE });
    if (this.#gated) {
      const { y, rounded } = this.#gated;
      const shape = { ...this.#shape, outFeatures: this.#shape.outFeatures / 2, isGated: true };
      this.#launch(shape, { y, rounded: rounded.address, epilogue: NO_EPILOGUE });
    }
    if (this.#sum) {
      const { y, residual, scaled } = this.#sum;
      const epilogue = [residual.slab.address, scaled?.weights ?? NULL, scaled?.squares.address ?? NULL] as const;
      this.#launch(this.#shape, { y, rounded: scaled?.operand.slab.address ?? NULL, epilogue });
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
      ...[y.isNeeded ? y.address : NULL, rounded, shape.columns, shape.inFeatures, shape.outFeatures],
      ...[...(plan.isInPairs ? [] : [Number(shape.isGated)]), plan.passUnits, plan.stageCount],
      ...[...this.#factors(), ...(plan.isInPairs ? epilogue : [])],
    );
  }

  #factors(): Scalar[] {
    const { factors } = this.#operand;
    return factors ? [factors.squares.address, factors.parts, factors.epsilon] : [NULL, 0, 0];
  }

  #planOf(shape: StreamShape): StreamPlan {
    return planStream(shape, this.#program.device.properties.multiprocessorCount);
  }
}
