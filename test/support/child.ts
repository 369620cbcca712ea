import { fork, type ChildProcess, type ForkOptions } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import path from 'node:path';
import { buildSync } from 'esbuild';

const ROOT = path.resolve(__dirname, '../..');

/**
 * Forks a TypeScript module of this folder. It is bundled first, because Node does not run TypeScript that imports files as
 * `.js`; packages stay where they are.
 */
export function forkModule(name: string, args: string[] = [], options: ForkOptions = {}): ChildProcess {
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
  return fork(outfile, args, { execArgv: [], ...options });
}
