/** The sources of this server by the name that requests use. A source that is not served says which ones are. */

import { invalidField } from '../base/errors.ts';
import type { AdapterSource } from '../base/adapter-reference.ts';
import { openLocal } from './local.ts';
import type { Source, Sources } from './source.ts';

export interface SourcesOptions {
  /** The only folder that local adapters are read from; undefined refuses the source `local`. */
  readonly adapterRoot: string | undefined;
  readonly hub: Source;
}

/** Throws OPTION_INVALID when the adapter root is not a folder. */
export function openSources({ adapterRoot, hub }: SourcesOptions): Sources {
  const served: readonly AdapterSource[] = adapterRoot === undefined ? ['hub'] : ['hub', 'local'];
  return {
    hub,
    local:
      adapterRoot === undefined
        ? unserved('local', served, 'needs the server option --adapter-root')
        : openLocal(adapterRoot),
    s3: unserved('s3', served, 'is not available in this version'),
    pbase: unserved('pbase', served, 'is not available in this version'),
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
