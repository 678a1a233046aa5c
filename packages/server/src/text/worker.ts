/** Entry of a text worker's process: takes one job at a time and answers it. Knows nothing about deadlines or queues. */
import { Worker } from 'node:worker_threads';
import { TemplateRenderer } from './chat-template.ts';
import { CodecCache, CodecMissing } from './codec-cache.ts';
import { checkDecoderBounds } from './decoder-bounds.ts';
import type { TextJob, TextJobKind, TextJobs, TextReply } from './text-job.ts';
import { parseSettings } from './tokenizer-files.ts';

/** Messages may quote files of strangers at any length. */
const MAX_MESSAGE_LEN = 400;

/** A job that never ends would go on when the server was killed: nobody would be left to end it. */
const ORPHAN_WATCH = `
  setInterval(() => process.ppid === ${process.ppid} || process.kill(process.pid, 'SIGKILL'), 1000);
`;

const renderer = new TemplateRenderer();
const codecs = new CodecCache();

new Worker(ORPHAN_WATCH, { eval: true }).unref();
// Ctrl-C reaches every process of the terminal; the server still finishes its requests, and ends its workers then.
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => undefined);
process.on('disconnect', () => process.exit());
process.on('message', (job: TextJob) => answer(job));
post({ kind: 'ready' });

function answer(job: TextJob): void {
  try {
    post({ kind: 'done', output: outputOf(job) });
  } catch (error) {
    if (error instanceof CodecMissing) return post({ kind: 'missing' });
    const message = error instanceof Error ? error.message : String(error);
    post({ kind: 'failed', message: message.slice(0, MAX_MESSAGE_LEN) });
  }
}

function outputOf(job: TextJob): TextJobs[TextJobKind]['output'] {
  switch (job.kind) {
    case 'render':
      return renderer.render(job.input);
    case 'settings':
      return parseSettings(job.input);
    case 'describe': {
      const { codec, eosTokenId } = codecs.open(job.input.codec);
      checkDecoderBounds(codec.decodeTable);
      return { table: codec.decodeTable, eosTokenId };
    }
    case 'encode':
      return Uint32Array.from(codecs.open(job.input.codec).codec.encode(job.input.text, job.input.addSpecialTokens));
    case 'spans':
      return codecs.open(job.input.codec).codec.spans(job.input.text, job.input.addSpecialTokens);
  }
}

function post(reply: TextReply): void {
  process.send?.(reply);
}
