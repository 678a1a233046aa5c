/** Entry of a text worker thread: takes one job at a time and answers it. Knows nothing about deadlines or queues. */
import { parentPort, workerData } from 'node:worker_threads';
import { present } from '../base/assert.ts';
import { TemplateRenderer } from './chat-template.ts';
import { openCodec, type TextCodec } from './text-codec.ts';
import type { TextJob, TextJobKind, TextJobs, TextReply, TextWorkerData } from './text-job.ts';
import { readTokenizerFiles } from './tokenizer-files.ts';

const { folder, overridePath } = workerData as TextWorkerData;
const port = present(parentPort, 'the port of a worker thread');
const renderer = new TemplateRenderer();
let opened: Promise<TextCodec> | undefined;

port.on('message', (job: TextJob) => void answer(job));
post({ kind: 'ready' });

async function answer(job: TextJob): Promise<void> {
  try {
    post({ kind: 'done', output: await outputOf(job) });
  } catch (error) {
    post({ kind: 'failed', message: error instanceof Error ? error.message : String(error) });
  }
}

async function outputOf(job: TextJob): Promise<TextJobs[TextJobKind]['output']> {
  if (job.kind === 'render') return renderer.render(job.input);
  const codec = await (opened ??= readTokenizerFiles(folder, overridePath).then(openCodec));
  const { text, addSpecialTokens } = job.input;
  return job.kind === 'encode' ? codec.encode(text, addSpecialTokens) : codec.spans(text, addSpecialTokens);
}

function post(reply: TextReply): void {
  port.postMessage(reply);
}
