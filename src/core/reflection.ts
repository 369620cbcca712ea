import { SessionConfigurationError } from './errors.js';

/**
 * @param what needs the types that TypeScript wrote down beside decorators
 * @throws SessionConfigurationError when nobody can read them
 */
export function assertReflection(what: string): void {
  if (typeof (Reflect as Partial<typeof Reflect>).getMetadata !== 'function') {
    throw new SessionConfigurationError(
      `${what} needs reflect-metadata: write import 'reflect-metadata' as the first line of the application's entry file`,
    );
  }
}
