/** The sources of this server by the name that requests use. A source that is not served says which ones are. */

import { ADAPTER_SOURCES, type AdapterSource } from '../base/adapter-reference.ts';
import { invalidField } from '../base/errors.ts';
import { openLocal } from './local.ts';
import type { Source, Sources } from './source.ts';

export interface SourcesOptions {
  /** The only folder that local adapters are read from; undefined refuses the source `local`. */
  readonly adapterRoot: string | undefined;
  readonly hub: Source;
  /** Not served where absent, as for programs that embed the engine and read local adapters alone. */
  readonly s3?: Source;
  readonly pbase?: Source;
}

/** Throws OPTION_INVALID when the adapter root is not a folder. */
export function openSources({ adapterRoot, hub, s3, pbase }: SourcesOptions): Sources {
  const local = adapterRoot === undefined ? undefined : openLocal(adapterRoot);
  const opened = { hub, local, s3, pbase };
  const served = ADAPTER_SOURCES.filter((name) => opened[name] !== undefined);
  return {
    hub,
    local: local ?? unserved('local', served, 'needs the server option --adapter-root'),
    s3: s3 ?? unserved('s3', served, 'is not served'),
    pbase: pbase ?? unserved('pbase', served, 'is not served'),
  };
}

function unserved(name: AdapterSource, served: readonly AdapterSource[], why: string): Source {
  return {
    name,
    locate: async () => {
      throw invalidField('adapter_source', `\`${name}\` ${why}; served here: ${served.join(', ')}`);
    },
    list: async () => [],
  };
}
