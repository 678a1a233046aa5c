/** What the environment says about Predibase's gateway; its token is the option `--predibase-api-token`. */

import type { Environment } from './derive.ts';
import { checkedUrl } from './s3-settings.ts';

const PUBLIC_GATEWAY = 'https://api.app.predibase.com';

export interface PbaseSettings {
  readonly gateway: string;
}

/** For the reference page. */
export const PBASE_VARIABLES: Readonly<Record<string, string>> = {
  PREDIBASE_GATEWAY_ENDPOINT: `Address of the gateway that knows the adapters of the source pbase; ${PUBLIC_GATEWAY} where it is not given`,
};

/** Throws OPTION_INVALID naming the variable. */
export function pbaseSettings(env: Environment): PbaseSettings {
  const name = 'PREDIBASE_GATEWAY_ENDPOINT';
  return { gateway: checkedUrl(name, env[name] || PUBLIC_GATEWAY) };
}
