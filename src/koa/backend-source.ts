import type { SessionBackend } from '../core/backend.js';
import { SessionConfigurationError } from '../core/errors.js';

let find = (): SessionBackend => {
  throw new SessionConfigurationError(
    'No session backend. Give SessionCookie the option backend, as new InMemoryBackend()',
  );
};

/** Returns the backend of a cookie service without the option `backend`. */
export function findBackend(): SessionBackend {
  return find();
}

/** Sets the source of backends for services without the option `backend`; without a source, the option is required. */
export function setBackendSource(source: () => SessionBackend): void {
  find = source;
}
