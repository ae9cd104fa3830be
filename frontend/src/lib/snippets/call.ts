import type { JsonObject } from '@/lib/json';

/** The environment variable that every sample reads the token from. */
export const TOKEN_VARIABLE = 'MODELROCKET_TOKEN';
/** What a long request is read from. */
export const REQUEST_FILE = 'request.json';

/** A request as it is to be written down. */
export interface Call {
  modelId: string;
  /** Of `POST /inference`. */
  url: string;
  inputs: JsonObject;
  /** Names. */
  outputs: readonly string[];
}

/** What a sample is written from. `body`: the request for people to read, on lines; null where it is a file. */
export interface Written extends Call {
  body: string | null;
}
