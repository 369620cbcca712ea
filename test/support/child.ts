import { fork, type ChildProcess, type ForkOptions } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import path from 'node:path';
import { buildSync } from 'esbuild';

const ROOT = path.resolve(__dirname, '../..');

/** Written once: a child that was forked a moment ago may still be reading it. */
const bundles = new Map<string, string>();

/** Forks a TypeScript module of this folder. */
export function forkModule(name: string, args: string[] = [], options: ForkOptions = {}): ChildProcess {
  return fork(bundleModule(name), args, { execArgv: [], ...options });
}

/**
 * Makes a module of this folder one JavaScript file, because Node does not run TypeScript that imports files as `.js`, and
 * answers where that is. Packages stay where they are.
 */
export function bundleModule(name: string): string {
  const bundled = bundles.get(name);
  if (bundled !== undefined) return bundled;
  const outfile = path.join(ROOT, 'build/test-children', String(process.pid), `${name}.js`);
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
