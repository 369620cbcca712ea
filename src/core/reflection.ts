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

/** The setting that makes a compiler write the types beside decorators, by the tool. */
export const METADATA_SETTINGS = [
  'tsc and ts-node: "emitDecoratorMetadata": true in tsconfig.json',
  'SWC: "jsc": { "transform": { "legacyDecorator": true, "decoratorMetadata": true } } in .swcrc',
  'Vitest: the plugin unplugin-swc, with these settings of SWC',
  'tsx and esbuild write none: compile with tsc or SWC',
].join('; ');
