import { fork, type ChildProcess, type ForkOptions } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import path from 'node:path';
import { buildSync } from 'esbuild';

const ROOT = path.resolve(__dirname, '../..');

/** Written once: a child that was forked a moment ago may still be reading it. */
const bundles = new Map<string, string>();

/** Forks a TypeScript module, which is named by its path from this folder, without `.ts`. */
export function forkModule(name: string, args: string[] = [], options: ForkOptions = {}): ChildProcess {
  return fork(bundleModule(name), args, { execArgv: [], ...options });
}

/**
 * Bundles a module of the tests into one JavaScript file, because Node does not run TypeScript that imports files as `.js`.
 * Packages are not bundled.
 *
 * @returns the path of the file
 */
export function bundleModule(name: string): string {
  const bundled = bundles.get(name);
  if (bundled !== undefined) return bundled;
  const outfile = path.join(ROOT, 'build/test-children', String(process.pid), `${path.basename(name)}.js`);
  mkdirSync(path.dirname(outfile), { recursive: true });
  buildSync({
    entryPoints: [path.join(__dirname, `${name}.ts`)],
    outfile,
    bundle: true,
    platform: 'node',
    packages: 'external',
    target: 'node20',
    tsconfigRaw: {},
    logLevel: 'error',
  });
  bundles.set(name, outfile);
  return outfile;
}
