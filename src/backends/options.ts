import { SessionConfigurationError } from '../core/errors.js';

/**
 * @param unknown what is left of a backend's options when the known ones were taken out
 * @throws SessionConfigurationError when that is anything
 */
export function refuseUnknown(backend: string, unknown: object, known: string): void {
  const names = Object.keys(unknown);
  if (names.length > 0) {
    throw new SessionConfigurationError(`${backend}: unknown option ${names.join(', ')}; it takes ${known}`);
  }
}
