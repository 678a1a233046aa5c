/** What a freshly started server tells a person to try: lines that can be pasted into a POSIX shell as they are. */

import type { AdapterSource } from '../base/adapter-reference.ts';

export interface Served {
  readonly url: string;
  readonly modelId: string;
  readonly adapters: readonly string[];
  /** Where requests that name no source have their adapter looked up. */
  readonly defaultAdapterSource: AdapterSource;
  /** Requests must carry one of the server's keys. */
  readonly needsKey: boolean;
}

/** A key stays in the shell's environment: on the screen it would be read, and in the shell's history kept. */
const KEY_HEADER = '-H "authorization: Bearer $LORAX_KEY" ';

const PROMPT = 'Once upon a time there was a little';
const SHOWN_ADAPTERS = 12;

export function nextSteps(served: Served): string {
  const [adapter] = served.adapters;
  const parameters = { max_new_tokens: 40 };
  const steps = [
    ['The base model:', generate(served, parameters)],
    ...(adapter === undefined
      ? []
      : [
          [
            `The same prompt with the adapter ${adapter}:`,
            generate(served, { ...parameters, ...named(adapter, served) }),
          ],
          ["As OpenAI's clients ask, token by token:", complete(served, adapter)],
        ]),
    ['The base model and the adapters:', `${curl(served)}${served.url}/v1/models`],
  ];
  const blocks = steps.map(([title, command]) => `${title}\n  ${command}\n`);
  const key = served.needsKey ? '\nThe commands take one of its keys from the variable LORAX_KEY.\n' : '';
  return `\n${summary(served)}\n${key}\n${blocks.join('\n')}\nCtrl-C ends the server when the requests in hand are answered.\n\n`;
}

function summary({ modelId, url, adapters }: Served): string {
  if (adapters.length === 0) return `${modelId} is served at ${url}`;
  const more = adapters.length > SHOWN_ADAPTERS ? `, ... (${adapters.length} in all)` : '';
  return `${modelId} is served at ${url} with the adapters ${adapters.slice(0, SHOWN_ADAPTERS).join(', ')}${more}`;
}

function generate(served: Served, parameters: object): string {
  return post(served, '/generate', { inputs: PROMPT, parameters });
}

function complete(served: Served, model: string): string {
  return post(served, '/v1/completions', { model, prompt: PROMPT, max_tokens: 40, stream: true }, '-N ');
}

function named(adapter: string, { defaultAdapterSource }: Served): object {
  const isDefault = defaultAdapterSource === 'local';
  return isDefault ? { adapter_id: adapter } : { adapter_id: adapter, adapter_source: 'local' };
}

function post(served: Served, path: string, body: object, flags = ''): string {
  // Inside a shell's single quotes only the single quote itself means anything.
  const quoted = JSON.stringify(body).replaceAll("'", String.raw`'\''`);
  return `${curl(served)}${flags}${served.url}${path} -H 'content-type: application/json' \\\n    -d '${quoted}'`;
}

function curl({ needsKey }: Served): string {
  return `curl ${needsKey ? KEY_HEADER : ''}`;
}
