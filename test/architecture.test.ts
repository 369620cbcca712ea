import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';

const SRC = path.resolve(__dirname, '../src');

/** The wings that a wing may import from, beside itself: a ladder from the entry points down to core. */
const MAY_IMPORT: Record<string, readonly string[]> = {
  core: [],
  cookie: ['core'],
  model: ['core'],
  session: ['model', 'cookie', 'core'],
  koa: ['session', 'model', 'cookie', 'core'],
  controllers: ['koa', 'session', 'model', 'core'],
  backends: ['core'],
  openapi: ['controllers', 'koa', 'core'],
  telemetry: ['koa', 'session', 'core'],
  testing: ['koa', 'model', 'core'],
  command: ['backends', 'core'],
  entry: ['controllers', 'koa', 'session', 'model', 'core', 'backends'],
};

/** Files that only gather what a package entry exports. They may gather from every wing but those that are entries. */
const ENTRIES = ['index.ts', 'koa/index.ts'];

/** What must not reach the entry point for Koa alone, by however many steps. */
const NOT_ON_KOA = ['controllers', 'openapi', 'telemetry', 'testing'];

/** The one folder or two that may know a package that only some users have installed, or that is a matter of one layer. */
const PACKAGES: Record<string, readonly string[]> = {
  koa: ['koa', 'controllers'],
  'routing-controllers': ['controllers', 'openapi'],
  'class-validator': ['model'],
  'class-transformer': ['model'],
  cookie: ['cookie'],
  lmdb: ['backends/lmdb'],
  redis: ['backends/redis'],
  ioredis: ['backends/redis'],
  pg: ['backends/postgres'],
  'better-sqlite3': ['backends/sqlite'],
  mysql2: ['backends/mysql'],
  'routing-controllers-openapi': ['openapi'],
  commander: ['command'],
  '@opentelemetry': ['telemetry'],
};

interface Import {
  file: string;
  folder: string;
  target: string;
}

const files = readdirSync(SRC, { recursive: true, encoding: 'utf8' }).filter(file => file.endsWith('.ts'));
const folderOf = (file: string) => (ENTRIES.includes(file) ? 'entry' : (file.split(path.sep)[0] ?? ''));

const imports: Import[] = files.flatMap(file => {
  const source = readFileSync(path.join(SRC, file), 'utf8');
  return [...source.matchAll(/^(?:import|export)\b[^;]*?\bfrom '([^']+)'|^import '([^']+)'/gm)].map(match => ({
    file,
    folder: folderOf(file),
    target: match[1] ?? match[2] ?? '',
  }));
});

const inside = imports.filter(({ target }) => target.startsWith('.'));
const importedBy = (file: string): string[] =>
  inside
    .filter(one => one.file === file)
    .map(({ target }) => path.join(path.dirname(file), target).replace(/\.js$/, '.ts'));
const outside = imports.filter(({ target }) => !target.startsWith('.') && !target.startsWith('node:'));

test('imports point down', () => {
  const wrong = inside.filter(({ file, folder, target }) => {
    const targetFolder = folderOf(path.relative(SRC, path.resolve(SRC, path.dirname(file), target)));
    return targetFolder !== folder && !MAY_IMPORT[folder]?.includes(targetFolder);
  });
  expect(inside.length).toBeGreaterThan(50);
  expect(wrong).toEqual([]);
});

/** The folder of a file's engine: `backends/redis` of `backends/redis/layout.ts`. What lies in `backends` itself is shared. */
const engineOf = (file: string) => /^(backends\/[^/]+)\//.exec(file.split(path.sep).join('/'))?.[1];

test('an engine imports only its own folder and its own driver, and no other engine', () => {
  const targetOf = ({ file, target }: Import) => path.relative(SRC, path.resolve(SRC, path.dirname(file), target));
  const ofEngines = inside.filter(({ file }) => engineOf(file) !== undefined);
  const strangers = inside.filter(each => {
    const engine = engineOf(targetOf(each));
    return each.folder === 'backends' && engine !== undefined && engine !== engineOf(each.file);
  });
  const engines = new Set(ofEngines.map(({ file }) => engineOf(file)));
  expect([...engines].sort()).toEqual(
    ['lmdb', 'memory', 'moving', 'mysql', 'postgres', 'redis', 'sqlite'].map(engine => `backends/${engine}`),
  );
  for (const engine of engines) expect(files).toContain(path.join(engine!, 'backend.ts'));
  expect(strangers).toEqual([]);
});

test('no files import each other, not even in a circle of several, and not even types', () => {
  expect(circlesOf(files)).toEqual([]);
});

test('the entry point for Koa imports nothing of routing-controllers', () => {
  const reached = new Set(['koa/index.ts']);
  for (const file of reached) for (const next of importedBy(file)) reached.add(next);
  expect(reached.size).toBeGreaterThan(20);
  expect([...reached].filter(file => NOT_ON_KOA.includes(folderOf(file)))).toEqual([]);
});

test('nothing imports the root entry', () => {
  expect(
    inside.filter(({ file, target }) => path.resolve(SRC, path.dirname(file), target) === path.join(SRC, 'index.js')),
  ).toEqual([]);
});

test('a package is known where it belongs and nowhere else', () => {
  const wrong = outside.filter(({ file, folder, target }) => {
    const places = PACKAGES[target.split('/')[0] ?? ''];
    return !places?.includes(engineOf(file) ?? folder);
  });
  expect(wrong).toEqual([]);
});

test('core knows no HTTP', () => {
  const node = imports.filter(({ folder, target }) => folder === 'core' && target.startsWith('node:'));
  // Clocks and timers are no part of HTTP.
  expect([...new Set(node.map(({ target }) => target))].sort()).toEqual(['node:perf_hooks', 'node:timers']);
});

test('nothing is exported wholesale', () => {
  const wholesale = files.filter(file => /^export \*/m.test(readFileSync(path.join(SRC, file), 'utf8')));
  expect(wholesale).toEqual([]);
});

/** Groups of files of which each reaches each (Tarjan's strongly connected components), those of one file left out. */
function circlesOf(nodes: readonly string[]): string[][] {
  const order = new Map<string, number>();
  const lowest = new Map<string, number>();
  const open: string[] = [];
  const circles: string[][] = [];
  const visit = (file: string): void => {
    order.set(file, order.size);
    lowest.set(file, order.get(file)!);
    open.push(file);
    for (const next of importedBy(file)) {
      if (!order.has(next)) visit(next);
      if (open.includes(next)) lowest.set(file, Math.min(lowest.get(file)!, lowest.get(next)!));
    }
    if (lowest.get(file) !== order.get(file)) return;
    const circle = open.splice(open.indexOf(file));
    if (circle.length > 1 || importedBy(file).includes(file)) circles.push(circle.sort());
  };
  for (const node of nodes) if (!order.has(node)) visit(node);
  return circles;
}
