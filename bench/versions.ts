import { readFileSync } from 'node:fs';
import { join } from 'node:path';

import { BENCH, ROOT } from './folders.js';

/**
 * The versions of everything that is measured, by name.
 *
 * @param servers `undefined` for one that is not there
 */
export function versions(
  packages: Record<string, string>,
  servers: Record<string, string | undefined>,
): Record<string, string> {
  const there = Object.entries(servers).filter((entry): entry is [string, string] => entry[1] !== undefined);
  return {
    node: process.versions.node,
    'routing-controllers-sessions': manifest(join(ROOT, 'package.json')).version,
    ...packages,
    ...Object.fromEntries(there),
  };
}

/** The peers and their versions. */
export function peers(): Record<string, string> {
  const { dependencies = {} } = manifest(join(BENCH, 'package.json'));
  return Object.fromEntries(Object.entries(dependencies).filter(([, wanted]) => !wanted.startsWith('file:')));
}

/** The installed versions of the backends' drivers. */
export function drivers(): Record<string, string> {
  const names = ['lmdb', 'better-sqlite3', 'redis', 'ioredis', 'pg', 'mysql2'];
  return Object.fromEntries(names.map(name => [name, manifest(installed(name)).version]));
}

/** The path of a package.json, derived from the package's entry because not every package exports its package.json. */
function installed(name: string): string {
  const entry = require.resolve(name);
  const folder = join('node_modules', name);
  return join(entry.slice(0, entry.lastIndexOf(folder)), folder, 'package.json');
}

function manifest(path: string): { version: string; dependencies?: Record<string, string> } {
  return JSON.parse(readFileSync(path, 'utf8')) as { version: string; dependencies?: Record<string, string> };
}
