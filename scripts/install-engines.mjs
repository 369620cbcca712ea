// Installs the engines that the backends' tests need, from Debian's packages, where they are missing. Run as root; the CI
// run does.
import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import path from 'node:path';

const postgresFolder = '/usr/lib/postgresql';
const folders = [
  ...(process.env.PATH ?? '').split(path.delimiter),
  ...(existsSync(postgresFolder)
    ? readdirSync(postgresFolder).map(version => path.join(postgresFolder, version, 'bin'))
    : []),
];
const isInstalled = program => folders.some(folder => existsSync(path.join(folder, program)));

const missing = Object.entries({ 'redis-server': 'redis-server', postgres: 'postgresql' }).filter(
  ([program]) => !isInstalled(program),
);
if (missing.length === 0) {
  console.log('install-engines: redis-server and postgres are there');
} else {
  const packages = missing.map(([, name]) => name);
  console.log(`install-engines: ${packages.join(', ')} missing: installing from Debian's packages`);
  const run = (...args) =>
    execFileSync('apt-get', args, { stdio: 'inherit', env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' } });
  run('update', '-qq');
  run('install', '-y', '-qq', '--no-install-recommends', ...packages);
}
