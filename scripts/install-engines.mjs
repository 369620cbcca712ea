// Before the tests: sees to the engines that they run against. Each is taken from PATH, or from the address that the
// environment names; what is missing comes from Debian's packages, where this may install them. Where it may not, the
// tests of that engine are skipped, and say so; with CI=true they fail.
import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import path from 'node:path';

const ENGINES = [
  { name: 'Redis', programs: ['redis-server'], urls: ['REDIS_URL'], packages: ['redis-server'] },
  { name: 'PostgreSQL', programs: ['postgres'], urls: ['POSTGRES_URL', 'DATABASE_URL'], packages: ['postgresql'] },
  {
    name: 'Chromium',
    programs: ['chromium', 'chromium-browser', 'google-chrome'],
    urls: ['CHROMIUM'],
    packages: ['chromium', 'fonts-dejavu-core'],
  },
  { name: 'curl', programs: ['curl'], urls: [], packages: ['curl'] },
  { name: 'OpenSSL', programs: ['openssl'], urls: [], packages: ['openssl'] },
];

/** PATH, and where Debian keeps PostgreSQL's programs off it. */
function folders() {
  const postgres = '/usr/lib/postgresql';
  const versions = existsSync(postgres)
    ? readdirSync(postgres).map(version => path.join(postgres, version, 'bin'))
    : [];
  return [...(process.env.PATH ?? '').split(path.delimiter), ...versions];
}

function isThere({ programs, urls }) {
  if (urls.some(url => process.env[url])) return true;
  return programs.some(program => folders().some(folder => existsSync(path.join(folder, program))));
}

function install(packages) {
  const run = (...args) =>
    execFileSync('apt-get', args, { stdio: 'inherit', env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' } });
  run('update', '-qq');
  run('install', '-y', '-qq', '--no-install-recommends', ...packages);
}

const missing = ENGINES.filter(engine => !isThere(engine));
if (missing.length > 0) {
  const names = missing.map(({ name }) => name).join(', ');
  const packages = missing.flatMap(engine => engine.packages);
  if (process.getuid?.() === 0 && existsSync('/usr/bin/apt-get')) {
    console.log(`Installing from the distribution's packages, for the tests: ${names}`);
    install(packages);
  } else {
    console.log(
      `NOT INSTALLED: ${names}. Their tests are skipped. On Debian: sudo apt-get install ${packages.join(' ')}`,
    );
  }
}
