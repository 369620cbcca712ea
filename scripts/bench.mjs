// Builds the library and the benchmark, installs what it compares with on the first run, and starts a part of it:
// node scripts/bench.mjs PART [--options]
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';

const [part, ...options] = process.argv.slice(2);

function run(command, ...args) {
  const { status } = spawnSync(command, args, { stdio: 'inherit' });
  if (status !== 0) process.exit(status ?? 1);
}

run('npm', 'run', '--silent', 'build');
if (!existsSync('bench/node_modules')) run('npm', 'ci', '--prefix', 'bench');
run('npx', 'tsc', '-p', 'bench/tsconfig.json');
run('node', `bench/build/${part}.js`, ...options);
