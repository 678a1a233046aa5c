/**
 * The one table of the server's options. Flags, environment variables, validation, `--help` and
 * `docs/reference/options.md` all come from it. Knows neither the command line's parser nor who uses the values.
 */

import { hostname } from 'node:os';

import { ADAPTER_SOURCES, type AdapterSource } from '../base/adapter-reference.ts';
import { accessKeys } from './access-keys.ts';
import type { CoreCount } from './cores.ts';
import { deviceName } from './device-name.ts';
import type { HubSettings } from './hub-settings.ts';
import type { OptionTable, OptionValues } from './option-spec.ts';
import type { PbaseSettings } from './pbase-settings.ts';
import type { S3Settings } from './s3-settings.ts';
import { choice, decimal, integer, list, path, positive, text, toggle } from './value-forms.ts';

/** Far above every machine, far below where a number of tokens or rows stops being exact. */
const MANY = 1_000_000_000;
/** Above every disk. */
const MANY_BYTES = 2 ** 50;

export const OPTIONS = {
  modelId: {
    ...text('ID'),
    group: 'Model',
    help: 'Base model: a folder, or a Hub id, which may end in @REVISION',
  },
  revision: {
    ...text('REVISION'),
    group: 'Model',
    help: 'Branch, tag or commit of the base model on the Hub',
  },
  demo: {
    ...toggle(),
    default: false,
    group: 'Model',
    help: 'Serve the bundled demo model with its adapters',
  },
  dtype: {
    ...choice('TYPE', ['float32', 'float16', 'bfloat16']),
    derived: 'as the weights are stored',
    group: 'Model',
    help: 'Type of the weights in memory; float32 also keeps the KV cache in float32',
  },
  tokenizerConfigPath: {
    ...path('FILE'),
    group: 'Model',
    help: "A tokenizer_config.json whose chat template is used instead of the model's, not instead of an adapter's own",
  },
  huggingfaceHubCache: {
    ...path('DIR'),
    derived:
      'HF_HUB_CACHE, HUGGINGFACE_HUB_CACHE, HF_HOME/hub, XDG_CACHE_HOME/huggingface/hub or ~/.cache/huggingface/hub',
    group: 'Model',
    help: 'Folder of downloaded models, in the layout that the Python tools share',
    // The variable of this name is not the strongest of those that Python reads.
    env: false,
  },

  adapterId: {
    ...text('ID'),
    derived: 'none; with --demo its draft heads, medusa',
    group: 'Adapters',
    help: 'Adapter for requests that name none',
  },
  adapterSource: {
    ...choice('SOURCE', ADAPTER_SOURCES),
    derived: 'local with --adapter-root or --demo, else hub',
    group: 'Adapters',
    help: 'Where the adapter of --adapter-id is found',
  },
  defaultAdapterSource: {
    ...choice('SOURCE', ADAPTER_SOURCES),
    derived: 'the value of --adapter-source',
    group: 'Adapters',
    help: 'Where the adapters of requests that name no source are found',
  },
  adapterRoot: {
    ...path('DIR'),
    group: 'Adapters',
    help: 'Folder of local adapters; requests name one by its path inside, and nothing outside can be read',
  },
  mergeAdapterWeights: {
    ...toggle(),
    default: false,
    group: 'Adapters',
    help: 'Add the adapter of --adapter-id to the base weights at start; no other adapter can be named then',
  },
  preloadedAdapterIds: {
    ...list('ID'),
    default: [],
    group: 'Adapters',
    help: 'Adapters that are loaded at start and stay resident; others are still loaded when a request names them',
  },
  preloadedAdapterSource: {
    ...choice('SOURCE', ADAPTER_SOURCES),
    derived: 'the value of --adapter-source',
    group: 'Adapters',
    help: 'Where the adapters of --preloaded-adapter-ids are found',
  },
  maxActiveAdapters: {
    ...integer(1, MANY),
    default: 1024,
    group: 'Adapters',
    help: 'Adapters that are resident at the same time; idle ones leave when others need the room',
  },
  adapterMemoryFraction: {
    ...positive(1),
    default: 0.1,
    group: 'Adapters',
    help: 'Share of the memory that is free at start which resident adapters may take',
  },
  adapterHostCacheBytes: {
    ...integer(0, MANY_BYTES),
    default: 256 << 20,
    group: 'Adapters',
    help: 'Memory for adapters as they were read, resident or not, and for merged ones; 0 keeps none',
  },
  adapterDiskCacheBytes: {
    ...integer(0, MANY_BYTES),
    default: 32 * 2 ** 30,
    group: 'Adapters',
    help: 'Disk space for the adapters that this server downloaded; the least recently used leave first',
  },
  authCacheS: {
    ...decimal(0, 86_400),
    default: 30,
    group: 'Adapters',
    help: 'Seconds for which an answer about who may use an adapter is remembered',
  },
  authOnError: {
    ...choice('POLICY', ['deny', 'allow-cached']),
    default: 'deny' as const,
    group: 'Adapters',
    help: 'What happens to a request while its adapter source cannot be asked: refused, or allowed where the same caller was allowed before',
  },
  predibaseApiToken: {
    ...text('TOKEN'),
    group: 'Adapters',
    help: 'Token for the source pbase where a request brings none; better given as PREDIBASE_API_TOKEN',
  },
  adapterApi: {
    ...toggle(),
    default: false,
    group: 'Adapters',
    help: 'Let every caller list, load and unload adapters over HTTP; with --admin-key its holders may without this',
  },

  device: {
    ...deviceName(),
    default: 'auto' as const,
    group: 'Engine',
    help: 'What computes: cpu, cuda, cuda:N for the card of that number, or auto: a card where CUDA finds one that it can use',
  },
  numShard: {
    ...integer(1, 64),
    default: 1,
    group: 'Engine',
    help: 'Cards that compute together, each with a part of every layer; the heads of the model must be divisible by it',
  },
  threads: {
    ...integer(1, 1024),
    derived: 'the cores that this process may use, fewer for small models',
    group: 'Engine',
    help: 'Threads that compute a step',
  },
  matmulPrecision: {
    ...choice('LEVEL', ['high', 'medium']),
    default: 'high' as const,
    group: 'Engine',
    help: 'high keeps activations and attention keys exact beside 16-bit weights; medium rounds them to 16 bits and is faster',
  },
  ggmlPath: {
    ...path('DIR'),
    derived: 'the prebuilt package for this platform',
    group: 'Engine',
    help: 'Folder with a ggml of the same version that you built yourself',
  },

  speculativeTokens: {
    ...integer(0, 64),
    default: 0,
    group: 'Drafting',
    help: 'Tokens guessed ahead by looking back in the text; beside Medusa heads 0 is 8; changes no answer',
  },
  speculationCandidates: {
    ...integer(1, 16),
    default: 4,
    group: 'Drafting',
    help: 'Guesses that Medusa heads make for each place; more than one are verified as a tree where that is cheap',
  },
  speculationMaxBatchSize: {
    ...integer(0, 65_536),
    derived: 'LORAX_SPECULATION_MAX_BATCH_SIZE, else from what steps turn out to cost',
    group: 'Drafting',
    help: 'Most rows of a step with drafts; drafts beyond are left out',
  },
  strictMedusaHeads: {
    ...toggle(),
    default: false,
    group: 'Drafting',
    help: 'Refuse adapters whose Medusa heads are not as many as those of --adapter-id, as LoRAX does',
  },

  maxConcurrentRequests: {
    ...integer(1, MANY),
    default: 1024,
    group: 'Limits',
    help: 'Requests in hand; one more is answered with 429',
  },
  maxBestOf: {
    ...integer(1, 1024),
    default: 2,
    group: 'Limits',
    help: 'Largest best_of (and n) of a request',
  },
  maxStopSequences: {
    ...integer(0, 1024),
    default: 4,
    group: 'Limits',
    help: 'Most stop strings of a request',
  },
  maxInputLength: {
    ...integer(1, MANY),
    derived: 'one less than --max-total-tokens',
    group: 'Limits',
    help: 'Most prompt tokens of a request',
  },
  maxTotalTokens: {
    ...integer(2, MANY),
    derived: "the model's context, at most 4096",
    group: 'Limits',
    help: 'Most prompt and generated tokens of a request together',
  },
  maxBatchSize: {
    ...integer(1, 65_536),
    default: 64,
    group: 'Limits',
    help: 'Sequences that run at the same time',
  },
  maxBatchPrefillTokens: {
    ...integer(1, MANY),
    // A step's rows wait for its prompts, and a core computes some ten prompt tokens of a 1 B model in a second.
    default: 128,
    group: 'Limits',
    help: 'Prompt tokens in one step; longer prompts take several steps',
  },
  maxBatchTotalTokens: {
    ...integer(2, MANY),
    derived: 'from the memory that is available',
    group: 'Limits',
    help: 'Tokens of all running sequences together: the cells of the KV cache',
  },

  hostname: {
    ...text('HOST'),
    default: '127.0.0.1',
    group: 'Server',
    help: "Address to listen on; HOSTNAME counts only where it is not the machine's own name",
    // Containers and some shells set HOSTNAME to the machine's name; nobody chose to listen there.
    foreignEnv: (value) => value === hostname(),
  },
  port: {
    ...integer(0, 65_535),
    default: 3000,
    group: 'Server',
    help: 'Port to listen on; 0 takes a free one',
    short: '-p',
  },
  apiKey: {
    ...accessKeys('key'),
    default: [],
    group: 'Server',
    help: 'Key that requests to every route but /health must carry as bearer token, with a name for the log (KEY alone gets one, and =KEY where the key contains an =); better given as API_KEY',
  },
  adminKey: {
    ...accessKeys('admin'),
    default: [],
    group: 'Server',
    help: 'Key that also opens the adapter routes, written as for --api-key; better given as ADMIN_KEY',
  },
  corsAllowOrigin: {
    ...list('ORIGIN'),
    default: ['*'],
    group: 'Server',
    help: 'Origins whose pages may call the server',
  },
  corsAllowHeader: {
    ...list('NAME'),
    default: ['content-type', 'authorization', 'x-adapter-token'],
    group: 'Server',
    help: 'Request headers that such pages may send',
  },
  corsAllowMethod: {
    ...list('METHOD'),
    default: ['GET', 'POST', 'DELETE'],
    group: 'Server',
    help: 'Methods that such pages may use',
  },
  corsExposeHeader: {
    ...list('NAME'),
    default: ['*'],
    group: 'Server',
    help: 'Response headers that such pages may read',
  },
  corsAllowCredentials: {
    ...toggle(),
    default: false,
    group: 'Server',
    help: 'Whether such pages may send cookies; needs --cors-allow-origin',
  },

  watermarkGamma: {
    ...decimal(0, 1),
    default: 0.5,
    group: 'Watermark',
    help: 'Share of the vocabulary that a watermarked request prefers',
  },
  watermarkDelta: {
    ...decimal(-100, 100),
    default: 2,
    group: 'Watermark',
    help: 'What is added to the logits of the preferred tokens',
  },

  jsonOutput: {
    ...toggle(),
    default: false,
    group: 'Logs',
    help: 'Write the log as JSON lines',
  },
  logLevel: {
    ...choice('LEVEL', ['trace', 'debug', 'info', 'warn', 'error', 'silent']),
    default: 'info',
    group: 'Logs',
    help: 'Least severe message that is logged',
  },
} as const satisfies OptionTable;

/** The values as they were given, each checked by itself. */
export type GivenOptions = OptionValues<typeof OPTIONS>;

/** What is derived from the machine, the environment or other options where it was not given. */
interface DerivedOptions extends HubSettings {
  readonly cores: CoreCount;
  readonly s3: S3Settings;
  readonly pbase: PbaseSettings;
  readonly adapterSource: AdapterSource;
  readonly defaultAdapterSource: AdapterSource;
  readonly preloadedAdapterSource: AdapterSource;
  readonly huggingfaceHubCache: string;
  /** Where kernels that were compiled for a card are kept. */
  readonly kernelCacheFolder: string;
}

/** Every option of the server, checked alone and against the others; frozen. */
export type ServeOptions = Readonly<Omit<GivenOptions, keyof DerivedOptions> & DerivedOptions>;
