/*
 * The programs that tests run against. Each is taken from PATH, or from the address that the environment names.
 *
 *     npm run engines            lists what is missing, and asks before it installs
 *     npm run engines -- --yes   installs without asking, as CI=true does
 */
import { execFileSync } from 'node:child_process';
import { existsSync, realpathSync } from 'node:fs';
import { createInterface } from 'node:readline/promises';

import { findProgram } from './test-support.mjs';

const ENGINES = [
  { name: 'Redis', programs: ['redis-server'], urls: ['REDIS_URL'], packages: ['redis-server'] },
  { name: 'PostgreSQL', programs: ['postgres'], urls: ['POSTGRES_URL', 'DATABASE_URL'], packages: ['postgresql'] },
  { name: 'MariaDB', programs: ['mariadbd'], urls: ['MYSQL_URL'], packages: ['mariadb-server'] },
  { name: 'PgBouncer', programs: ['pgbouncer'], urls: [], packages: ['pgbouncer'] },
  {
    name: 'Chromium',
    programs: ['chromium', 'chromium-browser', 'google-chrome'],
    urls: ['CHROMIUM'],
    packages: ['chromium', 'fonts-dejavu-core'],
  },
  { name: 'curl', programs: ['curl'], urls: [], packages: ['curl'] },
  { name: 'OpenSSL', programs: ['openssl'], urls: [], packages: ['openssl'] },
];

function isInstalled({ programs, urls }) {
  return urls.some(url => process.env[url]) || programs.some(program => findProgram(program) !== undefined);
}

/** The engines that are neither installed nor named by the environment. */
export function missingEngines() {
  return ENGINES.filter(engine => !isInstalled(engine));
}

function aptGet(args) {
  const [command, ...prefix] = process.getuid?.() === 0 ? ['apt-get'] : ['sudo', 'apt-get'];
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' };
  execFileSync(command, [...prefix, ...args], { stdio: 'inherit', env });
}

async function agrees() {
  if (process.argv.includes('--yes') || process.env.CI === 'true') return true;
  if (!process.stdin.isTTY) {
    console.log('Nothing was installed. To install without being asked: npm run engines -- --yes');
    return false;
  }
  const terminal = createInterface({ input: process.stdin, output: process.stdout });
  const answer = await terminal.question('Install them? [y/N] ');
  terminal.close();
  return /^y(es)?$/i.test(answer.trim());
}

async function main() {
  const missing = missingEngines();
  if (missing.length === 0) {
    console.log(`Installed: ${ENGINES.map(({ name }) => name).join(', ')}`);
    return;
  }
  console.log(`Missing: ${missing.map(({ name }) => name).join(', ')}`);
  const packages = missing.flatMap(engine => engine.packages);
  if (!existsSync('/usr/bin/apt-get')) {
    console.log(
      'This script can only use apt-get. Install them yourself, or name them in the environment: see CONTRIBUTING.md',
    );
    process.exitCode = 1;
    return;
  }
  const sudo = process.getuid?.() === 0 ? '' : 'sudo ';
  console.log(`They come from the distribution: ${sudo}apt-get install ${packages.join(' ')}`);
  if (!(await agrees())) {
    process.exitCode = 1;
    return;
  }
  aptGet(['update', '-qq']);
  aptGet(['install', '-y', '-qq', '--no-install-recommends', ...packages]);
}

if (realpathSync(process.argv[1]) === import.meta.filename) await main();
