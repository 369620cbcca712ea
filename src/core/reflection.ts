import { SessionConfigurationError } from './errors.js';

/**
 * @param what the user of the types that TypeScript records for decorators
 * @throws SessionConfigurationError when reflect-metadata is not loaded
 */
export function assertReflection(what: string): void {
  if (typeof (Reflect as Partial<typeof Reflect>).getMetadata !== 'function') {
    throw new SessionConfigurationError(
      `${what} needs reflect-metadata: write import 'reflect-metadata' as the first line of the application's entry file`,
    );
  }
}
