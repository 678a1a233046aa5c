/**
 * `npm run bench:cuda`: steps of a model of Mistral-7B's shape with random weights on this machine's card, beside the time that
 * reading their weights, keys and values takes at the card's copy bandwidth. Needs Node, the build and node_modules, no model files.
 *
 * usage: node scripts/bench-cuda.mjs [high|medium]
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const load = (path) => import(new URL(`../packages/server/dist/${path}.js`, import.meta.url));
const { findDevice, openBackend } = await load('serving/backend');
const { loadCudaLibraries } = await load('backend/cuda/libraries');
const { DeviceMemory } = await load('backend/cuda/device-memory');
const { Stream } = await load('backend/cuda/stream');
const { WeightLoader } = await load('layers/weight-loader');
const { makeRotary } = await load('layers/rope');
const { Decoder } = await load('models/decoder');
const { addressOf } = await load('native/ffi');
const { rowMajorStrides } = await load('weights/tensor-view');

const CONTEXT = 512;
const CELLS_EACH = 640;
const MOST_ROWS = 64;
const LAYERS = 32;
const [HIDDEN, INTERMEDIATE, VOCABULARY, KV_WIDTH] = [4096, 14_336, 32_000, 1024];
const RANK = 16;
const ADAPTERS = 32;
const REPEATS = 15;

const CONFIG = {
  ...{ vocabSize: VOCABULARY, hiddenSize: HIDDEN, intermediateSize: INTERMEDIATE, layerCount: LAYERS },
  ...{ headCount: 32, kvHeadCount: 8, headDim: 128, normEpsilon: 1e-5, tiedEmbeddings: false },
  ...{ qkvBias: false, outputBias: false, mlpBias: false, headNorms: false },
  windows: Array.from({ length: LAYERS }, () => undefined),
  rotary: makeRotary({ type: 'default', theta: 10_000, headDim: 128, maxPositions: 4096, settings: {} }),
};

/** Every matrix reads the same random numbers, every vector ones: speed does not depend on them, and they cost no time to make. */
const matrixBits = smallBfloat16s(VOCABULARY * HIDDEN);
const ones = new Float32Array(HIDDEN).fill(1);

/** Below 0.0157: a random sign and mantissa, and one of four exponents. */
function smallBfloat16s(length) {
  const bits = new Uint16Array(length);
  let state = 1;
  for (let i = 0; i < length; i++) {
    state = (Math.imul(state, 1_103_515_245) + 12_345) & 0x7fffffff;
    const random = state >>> 8;
    bits[i] = ((random & 1) << 15) | ((117 + ((random >> 1) & 3)) << 7) | ((random >> 3) & 127);
  }
  return bits;
}

function view(name, shape) {
  const isVector = shape.length === 1;
  const address = addressOf((isVector ? ones : matrixBits).buffer);
  return { name, shape, dtype: isVector ? 'float32' : 'bfloat16', strides: rowMajorStrides(shape), address };
}

function shapeOf(name) {
  if (name.includes('norm')) return [HIDDEN];
  if (name.includes('embed') || name.includes('lm_head')) return [VOCABULARY, HIDDEN];
  if (/[kv]_proj/.test(name)) return [KV_WIDTH, HIDDEN];
  if (/[qo]_proj/.test(name)) return [HIDDEN, HIDDEN];
  return name.includes('down') ? [HIDDEN, INTERMEDIATE] : [INTERMEDIATE, HIDDEN];
}

const median = (values) => values.toSorted((a, b) => a - b)[values.length >> 1];

/** Bytes read and written in a second by copies on the device. */
async function copyBandwidth() {
  const { driver } = loadCudaLibraries();
  const bytes = 2 ** 31;
  const [from, to] = [new DeviceMemory(driver, bytes, 'a copy'), new DeviceMemory(driver, bytes, 'a copy')];
  const stream = new Stream(driver);
  const seconds = [];
  for (let i = 0; i < REPEATS; i++) {
    const begun = performance.now();
    driver.copyOnDevice(to.address, from.address, bytes, stream.handle);
    await stream.finish('a copy');
    seconds.push((performance.now() - begun) / 1000);
  }
  for (const one of [from, to, stream]) one.dispose();
  return (2 * bytes) / median(seconds);
}

const precision = process.argv[2] ?? 'medium';
const kernelCacheFolder = mkdtempSync(join(tmpdir(), 'lorax-bench-kernels-'));
let device;
try {
  device = findDevice('cuda');
} catch (error) {
  console.log(`nothing was measured: ${error.message}`);
  process.exit(0);
}
let begun = performance.now();
const backend = openBackend(device, { threads: 1, precision, ggmlPath: undefined, kernelCacheFolder });
rmSync(kernelCacheFolder, { recursive: true });
const took = () => performance.now() - begun;
console.log(`${backend.description.device}, ${backend.description.library}, precision ${precision}`);
console.log(`kernels compiled and loaded in ${took().toFixed(0)} ms`);
const bandwidth = await copyBandwidth();
console.log(`copies move ${(bandwidth / 1e12).toFixed(2)} TB/s`);

begun = performance.now();
let weightBytes = 0;
const onLoaded = (bytes) => (weightBytes += bytes);
const tensors = { get: (name) => view(name, shapeOf(name)) };
const loader = new WeightLoader(backend, tensors, { modelId: 'random', dtype: 'bfloat16', onLoaded });
const decoder = await Decoder.load(loader, CONFIG);
console.log(`weights: ${(weightBytes / 1e9).toFixed(2)} GB at ${(weightBytes / 1e6 / took()).toFixed(2)} GB/s`);
const embeddingBytes = 2 * VOCABULARY * HIDDEN;

const lowRank = [...loader.places.values()].flatMap((at) => {
  if (!at.path.includes('.layers.')) return [];
  const factors = { a: view('a', [RANK, at.inFeatures]), b: view('b', [at.outFeatures, RANK]) };
  return [{ at, rank: RANK, scale: 1, ...factors, magnitude: undefined, bias: undefined }];
});
const slots = [];
const loads = [];
for (let i = 0; i < ADAPTERS; i++) {
  begun = performance.now();
  slots.push(await backend.loadAdapter({ lowRank, replacements: [], weights: [] }));
  loads.push(took());
}
const adapterBytes = slots[0].byteLength;
console.log(`an adapter of ${(adapterBytes / 1e6).toFixed(0)} MB: ${median(loads).toFixed(1)} ms`);

const types = { key: 'float16', value: 'float16' };
const kv = backend.createKvStore({ layerCount: LAYERS, cellCount: MOST_ROWS * CELLS_EACH, width: KV_WIDTH, types });
const cellBytes = kv.byteLength / (MOST_ROWS * CELLS_EACH);
const promptOf = (length) => Array.from({ length }, (_, i) => (i * 7919) % VOCABULARY);
const run = (segments) => backend.runStep(decoder, kv, segments, { reduce: true, keepHidden: false });
const prompt = (row, adapters) => {
  return { tokens: promptOf(CONTEXT), position: 0, firstCell: row * CELLS_EACH, adapters, outputCount: 1 };
};
for (let row = 0; row < MOST_ROWS; row++) await run([prompt(row, [])]);

async function measure(name, segments, floorBytes) {
  const [totals, builds] = [[], []];
  for (let i = 0; i < REPEATS; i++) {
    begun = performance.now();
    const { times } = await run(segments);
    totals.push(took());
    builds.push(times.buildMs);
  }
  const ms = median(totals);
  const rows = segments.reduce((sum, { tokens }) => sum + tokens.length, 0);
  const floor = floorBytes && (floorBytes / bandwidth) * 1000;
  const ratio = floor ? `floor ${floor.toFixed(2)}, ratio ${(ms / floor).toFixed(2)}, ` : '';
  const host = `${median(builds).toFixed(2)} on the host`;
  console.log(`${name.padEnd(32)} ${ms.toFixed(2)} ms (${host}), ${ratio}${((rows / ms) * 1000).toFixed(0)} tokens/s`);
}

for (const rows of [1, 8, 32, MOST_ROWS]) {
  for (const adapterCount of [0, Math.min(rows, ADAPTERS)]) {
    const segments = Array.from({ length: rows }, (_, i) => {
      const adapters = adapterCount === 0 ? [] : [{ slot: slots[i % adapterCount], weight: 1 }];
      return { tokens: [i], position: CONTEXT, firstCell: i * CELLS_EACH, adapters, outputCount: 1 };
    });
    const bytes = weightBytes - embeddingBytes + rows * (CONTEXT + 1) * cellBytes + adapterCount * adapterBytes;
    await measure(`decode ${rows}, ${adapterCount} adapters`, segments, bytes);
  }
}
for (const adapters of [[], [{ slot: slots[0], weight: 1 }]]) {
  await measure(
    `prefill 4 x ${CONTEXT}, ${adapters.length} adapters`,
    [0, 1, 2, 3].map((row) => prompt(row, adapters)),
  );
}
for (const slot of slots) backend.unloadAdapter(slot);
kv.dispose();
backend.dispose();
