import { execFileSync, spawnSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';

import { type Published, publish } from './support/published';

const NAME = 'routing-controllers-sessions';
const SRC = path.resolve(__dirname, '../src');

/** What each entry loads beside itself. */
const SHARED: Record<string, readonly string[]> = {
  '.': ['controllers', 'core', 'koa'],
  './koa': ['core', 'koa'],
  './openapi': ['controllers', 'core', 'koa'],
  './telemetry': ['core', 'koa'],
  './testing': ['core', 'koa'],
  './lmdb': ['core'],
  './redis': ['core'],
  './postgres': ['core'],
  './sqlite': ['core'],
  './mysql': ['core'],
  './moving': ['core'],
};

/** Packages that only the entries named may load. */
const ONLY_FOR: Record<string, readonly string[]> = {
  'routing-controllers': ['.', './openapi'],
  'class-validator': ['.', './koa', './openapi', './telemetry', './testing'],
  '@opentelemetry/api': ['./telemetry'],
  'routing-controllers-openapi': ['./openapi'],
  lmdb: ['./lmdb'],
  redis: [],
  ioredis: [],
  pg: [],
  mysql2: [],
  'better-sqlite3': [],
  commander: [],
};

let published: Published;
beforeAll(() => {
  published = publish();
});
afterAll(() => published.remove());

const manifest = JSON.parse(readFileSync(path.join(SRC, '../package.json'), 'utf8')) as {
  exports: Record<string, { default?: string }>;
};
const entries = Object.keys(manifest.exports).filter(entry => entry !== './package.json');

function run(file: string, program: string, ...flags: string[]): string {
  writeFileSync(path.join(published.folder, file), program);
  return execFileSync(process.execPath, [...flags, file], { cwd: published.folder, encoding: 'utf8' });
}

test.each(entries)('the entry %s loads the files it shares with others, and no package of theirs', entry => {
  const program = `require('reflect-metadata'); require('${path.posix.join(NAME, entry)}');
    console.log(JSON.stringify(Object.keys(require.cache)));`;
  const loaded = JSON.parse(run('loads.cjs', program)) as string[];
  const shared = loaded.flatMap(module => /\/dist\/shared\/(\w+)\.js$/.exec(module)?.[1] ?? []);
  const packages = new Set(loaded.flatMap(module => /.*\/node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(module)?.[1] ?? []));
  expect(shared.sort()).toEqual(SHARED[entry]);
  expect(loaded.filter(module => module.includes(`/${NAME}/dist/`))).toHaveLength(shared.length + 1);
  for (const [name, allowed] of Object.entries(ONLY_FOR))
    if (!allowed.includes(entry)) expect([...packages]).not.toContain(name);
});

test('all entries have one instance of each class, whether they are required or imported', () => {
  const specifiers = entries.map(entry => path.posix.join(NAME, entry));
  const program = `import 'reflect-metadata';
    import { createRequire } from 'node:module';
    const require = createRequire(import.meta.url);
    // Other functions under the same name.
    const severalOf = ['SessionData', 'migrate'];
    const names = new Map();
    let compared = 0;
    for (const specifier of ${JSON.stringify(specifiers)})
      for (const exported of [require(specifier), await import(specifier)])
        for (const [name, value] of Object.entries(exported)) {
          if (['default', 'module.exports', ...severalOf].includes(name)) continue;
          if (names.has(name) && names.get(name) !== value) throw new Error(name + ' of ' + specifier);
          compared += Number(names.has(name));
          names.set(name, value);
        }
    const base = Object.getPrototypeOf(names.get('LmdbBackend'));
    console.log(compared, base === names.get('SessionBackend'));`;
  const [compared, isBase] = run('once.mjs', program).trim().split(' ');
  expect(Number(compared)).toBeGreaterThan(30);
  expect(isBase).toBe('true');
});

test('a stack trace names the source and its line', () => {
  const program = `require('reflect-metadata');
    const { SessionCookie } = require('${NAME}/koa');
    new SessionCookie({ idleTimeout: -1 });`;
  writeFileSync(path.join(published.folder, 'throws.cjs'), program);
  const { stderr } = spawnSync(process.execPath, ['--enable-source-maps', 'throws.cjs'], {
    cwd: published.folder,
    encoding: 'utf8',
  });
  const places = [...stderr.matchAll(/src\/(core\/checks\.ts|koa\/\S+\.ts):(\d+):\d+\)/g)];
  expect(places.length).toBeGreaterThan(2);
  const [, file = '', line] = places[0]!;
  const source = readFileSync(path.join(SRC, file), 'utf8').split('\n');
  expect(source[Number(line) - 1]).toMatch(/new SessionConfigurationError|throw /);
});
