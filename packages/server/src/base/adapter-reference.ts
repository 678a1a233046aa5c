/** How a caller names an adapter. Shared by every layer from the options to the routes; knows nothing about finding one. */

export type AdapterSource = 'hub' | 'local' | 's3' | 'pbase';

export interface AdapterReference {
  readonly id: string;
  readonly source: AdapterSource;
  readonly apiToken?: string;
}
