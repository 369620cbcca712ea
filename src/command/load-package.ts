import { createRequire } from 'node:module';
import path from 'node:path';
import { Failure } from './failure.js';

/**
 * Loads a driver from the application's folder, which is the current one.
 *
 * @param names packages of which one is enough
 * @returns the first that is there, with its name
 * @throws Failure when none is there
 */
export function loadPackage(...names: readonly string[]): { name: string; loaded: unknown } {
  const load = createRequire(path.join(process.cwd(), 'package.json'));
  for (const name of names) {
    try {
      load.resolve(name);
    } catch {
      continue;
    }
    try {
      return { name, loaded: load(name) as unknown };
    } catch (error) {
      if (name === names.at(-1))
        throw new Failure(`${name} cannot be loaded: ${firstLine(error)}`, undefined, { cause: error });
    }
  }
  const wanted = names.filter(name => !name.startsWith('node:')).map(name => name.split('/')[0] ?? name);
  throw new Failure(
    `this store needs the package ${wanted.join(' or ')}: npm install ${wanted[0] ?? ''}, in ${process.cwd()}`,
  );
}

function firstLine(error: unknown): string {
  return String(error instanceof Error ? error.message : error).split('\n', 1)[0] ?? '';
}
