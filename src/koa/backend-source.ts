import type { SessionBackend } from '../core/backend.js';
import { SessionConfigurationError } from '../core/errors.js';

let find = (): SessionBackend => {
  throw new SessionConfigurationError(
    'No session backend. Give SessionCookie the option backend, as new InMemoryBackend()',
  );
};

/** Returns the backend of a cookie service whose options name none. */
export function findBackend(): SessionBackend {
  return find();
}

/** Sets where the backend comes from when options name none; without a source, the option `backend` is needed. */
export function setBackendSource(source: () => SessionBackend): void {
  find = source;
}
