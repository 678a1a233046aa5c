/**
 * The C functions of ggml that this project calls, typed once. Shapes are ggml's: the innermost dimension comes first.
 * Every call here trusts its arguments: a failed assertion in ggml ends the process, so callers validate before.
 */

import { declareStruct, functionAt, withCallback, type Pointer, type SharedLibrary } from '../../native/ffi.ts';

export const GGML_TYPE = { float32: 0, float16: 1, bfloat16: 30, int32: 26, int64: 27 } as const;
export type GgmlType = (typeof GGML_TYPE)[keyof typeof GGML_TYPE];

/** Rotation of pairs `(i, i + n / 2)`, Hugging Face's layout. */
export const ROPE_NEOX = 2;

const PROTOTYPES = {
  version: 'const char *ggml_version()',
  logSet: 'void ggml_log_set(void *callback, void *data)',
  tensorOverhead: 'size_t ggml_tensor_overhead()',
  graphOverhead: 'size_t ggml_graph_overhead_custom(size_t size, bool grads)',
  init: 'void *ggml_init(ggml_init_params params)',
  reset: 'void ggml_reset(void *ctx)',
  free: 'void ggml_free(void *ctx)',
  newTensor1d: 'void *ggml_new_tensor_1d(void *ctx, int type, int64 ne0)',
  newTensor2d: 'void *ggml_new_tensor_2d(void *ctx, int type, int64 ne0, int64 ne1)',
  getData: 'void *ggml_get_data(void *tensor)',
  tensorSet: 'void ggml_backend_tensor_set(void *tensor, const void *data, size_t offset, size_t size)',
  tensorGet: 'void ggml_backend_tensor_get(const void *tensor, void *data, size_t offset, size_t size)',
  tensorMemset: 'void ggml_backend_tensor_memset(void *tensor, uint8 value, size_t offset, size_t size)',
  setInput: 'void ggml_set_input(void *tensor)',
  setOutput: 'void ggml_set_output(void *tensor)',
  view1d: 'void *ggml_view_1d(void *ctx, void *a, int64 ne0, size_t offset)',
  view2d: 'void *ggml_view_2d(void *ctx, void *a, int64 ne0, int64 ne1, size_t nb1, size_t offset)',
  view3d:
    'void *ggml_view_3d(void *ctx, void *a, int64 ne0, int64 ne1, int64 ne2, size_t nb1, size_t nb2, size_t offset)',
  view4d:
    'void *ggml_view_4d(void *ctx, void *a, int64 ne0, int64 ne1, int64 ne2, int64 ne3, size_t nb1, size_t nb2, size_t nb3, size_t offset)',
  reshape2d: 'void *ggml_reshape_2d(void *ctx, void *a, int64 ne0, int64 ne1)',
  reshape3d: 'void *ggml_reshape_3d(void *ctx, void *a, int64 ne0, int64 ne1, int64 ne2)',
  permute: 'void *ggml_permute(void *ctx, void *a, int axis0, int axis1, int axis2, int axis3)',
  transpose: 'void *ggml_transpose(void *ctx, void *a)',
  cont: 'void *ggml_cont(void *ctx, void *a)',
  cpy: 'void *ggml_cpy(void *ctx, void *a, void *b)',
  concat: 'void *ggml_concat(void *ctx, void *a, void *b, int dim)',
  cast: 'void *ggml_cast(void *ctx, void *a, int type)',
  add: 'void *ggml_add(void *ctx, void *a, void *b)',
  addInplace: 'void *ggml_add_inplace(void *ctx, void *a, void *b)',
  sub: 'void *ggml_sub(void *ctx, void *a, void *b)',
  mul: 'void *ggml_mul(void *ctx, void *a, void *b)',
  mulInplace: 'void *ggml_mul_inplace(void *ctx, void *a, void *b)',
  div: 'void *ggml_div(void *ctx, void *a, void *b)',
  sqr: 'void *ggml_sqr(void *ctx, void *a)',
  sqrt: 'void *ggml_sqrt(void *ctx, void *a)',
  sumRows: 'void *ggml_sum_rows(void *ctx, void *a)',
  scale: 'void *ggml_scale(void *ctx, void *a, float s)',
  silu: 'void *ggml_silu(void *ctx, void *a)',
  siluBack: 'void *ggml_silu_back(void *ctx, void *a, void *b)',
  mulMat: 'void *ggml_mul_mat(void *ctx, void *a, void *b)',
  outProd: 'void *ggml_out_prod(void *ctx, void *a, void *b)',
  getRows: 'void *ggml_get_rows(void *ctx, void *a, void *b)',
  getRowsBack: 'void *ggml_get_rows_back(void *ctx, void *a, void *b, void *c)',
  setRows: 'void *ggml_set_rows(void *ctx, void *a, void *b, void *c)',
  rmsNorm: 'void *ggml_rms_norm(void *ctx, void *a, float eps)',
  ropeExt:
    'void *ggml_rope_ext(void *ctx, void *a, void *b, void *c, int n_dims, int mode, int n_ctx_orig, float freq_base, float freq_scale, float ext_factor, float attn_factor, float beta_fast, float beta_slow)',
  swigluSplit: 'void *ggml_swiglu_split(void *ctx, void *a, void *b)',
  flashAttention:
    'void *ggml_flash_attn_ext(void *ctx, void *q, void *k, void *v, void *mask, float scale, float max_bias, float logit_softcap)',
  softMax: 'void *ggml_soft_max(void *ctx, void *a)',
  softMaxExt: 'void *ggml_soft_max_ext(void *ctx, void *a, void *mask, float scale, float max_bias)',
  argmax: 'void *ggml_argmax(void *ctx, void *a)',
  topK: 'void *ggml_top_k(void *ctx, void *a, int k)',
  setParam: 'void ggml_set_param(void *tensor)',
  optStepAdamW: 'void *ggml_opt_step_adamw(void *ctx, void *a, void *grad, void *m, void *v, void *adamw_params)',
  newGraph: 'void *ggml_new_graph_custom(void *ctx, size_t size, bool grads)',
  expand: 'void ggml_build_forward_expand(void *graph, void *tensor)',
  graphNodeCount: 'int ggml_graph_n_nodes(void *graph)',
  float16ToFloat32: 'void ggml_fp16_to_fp32_row(void *from, void *to, int64 n)',
  float32ToFloat16: 'void ggml_fp32_to_fp16_row(void *from, void *to, int64 n)',
  bfloat16ToFloat32: 'void ggml_bf16_to_fp32_row(void *from, void *to, int64 n)',
  float32ToBfloat16: 'void ggml_fp32_to_bf16_row(void *from, void *to, int64 n)',
  allocTensors: 'void *ggml_backend_alloc_ctx_tensors_from_buft(void *ctx, void *buft)',
  tensorAlloc: 'int ggml_backend_tensor_alloc(void *buffer, void *tensor, void *address)',
  bufferFromPointer: 'void *ggml_backend_cpu_buffer_from_ptr(void *address, size_t size)',
  bufferSize: 'size_t ggml_backend_buffer_get_size(void *buffer)',
  bufferFree: 'void ggml_backend_buffer_free(void *buffer)',
  graphAllocatorNew: 'void *ggml_gallocr_new(void *buft)',
  graphAllocatorAlloc: 'bool ggml_gallocr_alloc_graph(void *allocator, void *graph)',
  graphAllocatorFree: 'void ggml_gallocr_free(void *allocator)',
  deviceInit: 'void *ggml_backend_dev_init(void *device, void *params)',
  deviceRegistry: 'void *ggml_backend_dev_backend_reg(void *device)',
  backendBufferType: 'void *ggml_backend_get_default_buffer_type(void *backend)',
  backendFree: 'void ggml_backend_free(void *backend)',
  procAddress: 'void *ggml_backend_reg_get_proc_address(void *registry, const char *name)',
} as const;

/** Functions of the registry library, whose file name carries a version. */
const REGISTRY_PROTOTYPES = {
  loadAll: 'void ggml_backend_load_all_from_path(const char *directory)',
  deviceByType: 'void *ggml_backend_dev_by_type(int type)',
} as const;

type Argument =
  | Pointer
  | number
  | boolean
  | string
  | null
  | ArrayBufferView
  | Readonly<Record<string, Pointer | number | boolean>>;
type PointerFunction = (...args: Argument[]) => Pointer;
type NumberFunction = (...args: Argument[]) => number;
type StringFunction = (...args: Argument[]) => string;

/** What a prototype's C return type is in TypeScript; `null` pointers come back as null. */
type Returns<P extends string> = P extends `void *${string}`
  ? PointerFunction
  : P extends `const char *${string}`
    ? StringFunction
    : P extends `void ${string}`
      ? (...args: Argument[]) => void
      : P extends `bool ${string}`
        ? (...args: Argument[]) => boolean
        : NumberFunction;

type Bound<T extends Record<string, string>> = { readonly [K in keyof T]: Returns<T[K]> };

export type Ggml = Bound<typeof PROTOTYPES> &
  Bound<typeof REGISTRY_PROTOTYPES> & {
    /** Computes a graph on a thread of libuv's pool; resolves with ggml's status, 0 being success. */
    compute(backend: Pointer, graph: Pointer): Promise<number>;
  };

declareStruct('ggml_init_params', { mem_size: 'size_t', mem_buffer: 'void *', no_alloc: 'bool' });

export function bindGgml(base: SharedLibrary, registry: SharedLibrary): Ggml {
  const compute = base.asyncFunc<Ggml['compute']>('int ggml_backend_graph_compute(void *backend, void *graph)');
  return { ...bindAll(base, PROTOTYPES), ...bindAll(registry, REGISTRY_PROTOTYPES), compute };
}

/** The CPU backend's own function, which its registry hands out instead of exporting it. */
export function bindSetThreads(ggml: Ggml, registry: Pointer): (backend: Pointer, threads: number) => void {
  const address = ggml.procAddress(registry, 'ggml_backend_set_n_threads');
  return functionAt(address, 'void ggml_set_n_threads(void *backend, int threads)');
}

/** ggml tells standard error which library it loads; whoever wants to know asks `lorax doctor`. */
export function loadAllSilently(ggml: Ggml, directory: string): void {
  const ignore = (): void => undefined;
  withCallback('void ggml_log_line(int level, const char *text, void *data)', ignore, (callback) => {
    ggml.logSet(callback, null);
    ggml.loadAll(directory);
    ggml.logSet(null, null);
  });
}

function bindAll<T extends Record<string, string>>(library: SharedLibrary, prototypes: T): Bound<T> {
  const bound = Object.entries(prototypes).map(([name, prototype]) => [name, library.func(prototype)]);
  return Object.fromEntries(bound) as Bound<T>;
}
