import { SessionConfigurationError } from '../core/errors.js';

/**
 * @param unknown the remaining options of a backend, without the known ones
 * @throws SessionConfigurationError when there are any
 */
export function refuseUnknown(backend: string, unknown: object, known: string): void {
  const names = Object.keys(unknown);
  if (names.length > 0) {
    throw new SessionConfigurationError(`${backend}: unknown option ${names.join(', ')}; it takes ${known}`);
  }
}
