/**
 * Reads a file of training data whole: a JSON array of records, or JSON lines. Errors name the record or the line.
 * Knows nothing about what records say.
 */

import { readFile, stat } from 'node:fs/promises';
import { basename } from 'node:path';
import { LoraxError } from '../base/errors.ts';
import { parseRecord, RecordFault, type TrainingText } from './training-text.ts';

/** What fits into one string of JavaScript's, with room to spare. */
const MAX_FILE_BYTES = 384 * 2 ** 20;

/** Throws FILE_INVALID. */
export async function readTrainingData(path: string): Promise<TrainingText[]> {
  const text = await readText(path);
  const isArray = !path.endsWith('.jsonl') && text.trimStart().startsWith('[');
  const texts = isArray ? readArray(path, text) : readLines(path, text);
  if (texts.length === 0) throw fault(path, 'holds no record');
  return texts;
}

async function readText(path: string): Promise<string> {
  try {
    const { size } = await stat(path);
    if (size > MAX_FILE_BYTES) throw fault(path, `is larger than ${MAX_FILE_BYTES} bytes; split it`);
    return await readFile(path, 'utf8');
  } catch (cause) {
    if (cause instanceof LoraxError) throw cause;
    throw fault(path, 'cannot be read', cause);
  }
}

function readArray(path: string, text: string): TrainingText[] {
  const records = parseJson(path, 'the file', text) as unknown[];
  return records.map((record, index) => parse(path, `record ${index + 1}`, record));
}

function readLines(path: string, text: string): TrainingText[] {
  return text.split('\n').flatMap((line, index) => {
    if (line.trim() === '') return [];
    const where = `line ${index + 1}`;
    return parse(path, where, parseJson(path, where, line));
  });
}

function parseJson(path: string, where: string, text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw fault(path, `${where} is not valid JSON: ${(cause as Error).message}`, cause);
  }
}

function parse(path: string, where: string, record: unknown): TrainingText {
  try {
    return parseRecord(record);
  } catch (error) {
    if (error instanceof RecordFault) throw fault(path, `${where}: ${error.message}`, error);
    throw error;
  }
}

function fault(path: string, reason: string, cause?: unknown): LoraxError {
  return new LoraxError('FILE_INVALID', { file: basename(path), reason }, { cause });
}
