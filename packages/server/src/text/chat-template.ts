/**
 * Chooses and renders a model's chat template with the variables that transformers gives it. Knows nothing about
 * workers: rendering runs code of strangers and may take for ever, so callers do it where it can be stopped.
 */
import { Template } from '@huggingface/jinja';
import type { ChatInput } from './tokenizer.ts';

/** Longest prompt that a template may produce, in characters: a million tokens or so. Templates can double strings. */
const MAX_RENDERED_LEN = 4 * 1024 * 1024;

export interface ChatTemplates {
  readonly byName: Readonly<Record<string, string>>;
  /** Special tokens by their variable name (`bos_token`, ...). */
  readonly tokens: Readonly<Record<string, string>>;
}

export interface RenderJob {
  readonly template: string;
  readonly variables: Readonly<Record<string, unknown>>;
}

/** The template and its variables for a chat; `undefined` if the model has no template for it. */
export function renderJobOf(templates: ChatTemplates, chat: ChatInput): RenderJob | undefined {
  const given = chat.variables ?? {};
  const hasTools = Array.isArray(given['tools']) && given['tools'].length > 0;
  const template = (hasTools ? templates.byName['tool_use'] : undefined) ?? templates.byName['default'];
  if (template === undefined) return undefined;
  return {
    template,
    variables: {
      // Templates tell "no tools" by `none`, which is what transformers passes.
      tools: null,
      documents: null,
      ...templates.tokens,
      ...given,
      messages: chat.messages,
      add_generation_prompt: chat.addGenerationPrompt,
    },
  };
}

/** Keeps the last parsed template: a server renders the same one again and again. */
export class TemplateRenderer {
  #source: string | undefined;
  #parsed: Template | undefined;

  /** Throws what the template raises or what is wrong with its syntax. */
  render(job: RenderJob): string {
    if (this.#parsed === undefined || this.#source !== job.template) {
      // The library trims blocks and strips the white space before them, as transformers does.
      this.#parsed = new Template(job.template);
      this.#source = job.template;
    }
    const rendered = this.#parsed.render(job.variables);
    if (rendered.length > MAX_RENDERED_LEN) throw new Error(`the prompt has more than ${MAX_RENDERED_LEN} characters`);
    return rendered;
  }
}
