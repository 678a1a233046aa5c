/** Requests to a served model: JSON in, JSON or server-sent events out. Knows no route's meaning. */

export interface Reply {
  readonly status: number;
  readonly contentType: string;
  readonly text: string;
}

export type JsonObject = Readonly<Record<string, unknown>>;

export async function post(url: string, body: unknown, signal?: AbortSignal): Promise<Reply> {
  return postRaw(url, JSON.stringify(body), 'application/json', signal);
}

export async function postRaw(
  url: string,
  body: string | Uint8Array,
  contentType: string,
  signal?: AbortSignal,
): Promise<Reply> {
  const headers = { 'content-type': contentType };
  return reply(await fetch(url, { method: 'POST', headers, body, signal: signal ?? null }));
}

export async function get(url: string, headers: Record<string, string> = {}): Promise<Reply> {
  return reply(await fetch(url, { headers }));
}

export async function getJson(url: string): Promise<JsonObject> {
  return json(await get(url));
}

/** The body of an answer that went well. */
export function json({ status, text }: Reply): JsonObject {
  if (status !== 200) throw new Error(`status ${status}: ${text}`);
  return JSON.parse(text) as JsonObject;
}

/** The data of each server-sent event, without OpenAI's `[DONE]`. */
export function events({ text }: Reply): JsonObject[] {
  return text
    .split('\n\n')
    .filter((block) => block.startsWith('data: ') && block !== 'data: [DONE]')
    .map((block) => JSON.parse(block.slice('data: '.length)) as JsonObject);
}

/** Sends a request and goes away as soon as the first bytes of the answer, or `afterMs`, have come. */
export async function leave(url: string, body: unknown, afterMs = 60_000): Promise<void> {
  const controller = new AbortController();
  const timer = setTimeout(() => controller.abort(), afterMs);
  try {
    const headers = { 'content-type': 'application/json' };
    const init = { method: 'POST', headers, body: JSON.stringify(body), signal: controller.signal };
    const { body: answer } = await fetch(url, init);
    await answer?.getReader().read();
  } catch (error) {
    if (!controller.signal.aborted) throw error;
  } finally {
    clearTimeout(timer);
    controller.abort();
  }
}

async function reply(response: Response): Promise<Reply> {
  const contentType = response.headers.get('content-type') ?? '';
  return { status: response.status, contentType, text: await response.text() };
}
