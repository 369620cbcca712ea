/*
 * Builds the library, installs the peers on the first run, and starts a part of the benchmark:
 *
 *     node scripts/bench.mjs run|guard|micro|scale|steady|watched|compare [--options]
 */
import { existsSync } from 'node:fs';
import path from 'node:path';

import { root, runFile, runNpm, runTool } from './run.mjs';

const [part, ...options] = process.argv.slice(2);
const bench = path.join(root, 'bench');

/** Steps of which each needs the one before. */
const steps = [() => runNpm(['run', '--silent', 'build'])];
if (!existsSync(path.join(bench, 'node_modules'))) steps.push(() => runNpm(['ci', '--prefix', 'bench']));
if (part === 'compare') steps.push(() => runFile('bench/compare/compare.mjs', options));
else
  steps.push(
    () => runTool('tsc', ['-p', 'bench/tsconfig.json']),
    () => runFile(`bench/build/bench/${part}.js`, options),
  );

for (const step of steps) {
  process.exitCode = step();
  if (process.exitCode !== 0) break;
}
