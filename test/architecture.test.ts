import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';

const SRC = path.resolve(__dirname, '../src');

/** Which folders of src a folder may import from, beside its own. The root is `index.ts`. */
const MAY_IMPORT: Record<string, readonly string[]> = {
  core: [],
  cookie: ['core'],
  model: ['core'],
  session: ['model', 'cookie', 'core'],
  koa: ['session', 'model', 'cookie', 'core'],
  controllers: ['koa', 'session', 'model', 'core'],
  backends: ['core'],
  openapi: ['controllers', 'koa', 'core'],
  testing: ['koa', 'core'],
  '': ['controllers', 'koa', 'session', 'model', 'core', 'backends'],
};

/** The one folder or two that may know a package that only some users have installed, or that is a matter of one layer. */
const PACKAGES: Record<string, readonly string[]> = {
  koa: ['koa', 'controllers'],
  'routing-controllers': ['controllers', 'koa', 'openapi'],
  'class-validator': ['model'],
  'class-transformer': ['model'],
  cookie: ['cookie'],
  lmdb: ['backends'],
  redis: ['backends'],
  pg: ['backends'],
  'routing-controllers-openapi': ['openapi'],
};

interface Import {
  file: string;
  folder: string;
  target: string;
}

const files = readdirSync(SRC, { recursive: true, encoding: 'utf8' }).filter(file => file.endsWith('.ts'));
const folderOf = (file: string) => (path.dirname(file) === '.' ? '' : (file.split(path.sep)[0] ?? ''));

const imports: Import[] = files.flatMap(file => {
  const source = readFileSync(path.join(SRC, file), 'utf8');
  return [...source.matchAll(/^(?:import|export)\b[^;]*?\bfrom '([^']+)'|^import '([^']+)'/gm)].map(match => ({
    file,
    folder: folderOf(file),
    target: match[1] ?? match[2] ?? '',
  }));
});

const inside = imports.filter(({ target }) => target.startsWith('.'));
const outside = imports.filter(({ target }) => !target.startsWith('.') && !target.startsWith('node:'));

test('imports point down', () => {
  const wrong = inside.filter(({ file, folder, target }) => {
    const targetFolder = folderOf(path.relative(SRC, path.resolve(SRC, path.dirname(file), target)));
    return targetFolder !== folder && !MAY_IMPORT[folder]?.includes(targetFolder);
  });
  expect(inside.length).toBeGreaterThan(50);
  expect(wrong).toEqual([]);
});

test('nothing imports the root entry', () => {
  expect(
    inside.filter(({ file, target }) => path.resolve(SRC, path.dirname(file), target) === path.join(SRC, 'index.js')),
  ).toEqual([]);
});

test('a package is known where it belongs and nowhere else', () => {
  const wrong = outside.filter(({ folder, target }) => !PACKAGES[target.split('/')[0] ?? '']?.includes(folder));
  expect(wrong).toEqual([]);
});

test('core knows no HTTP', () => {
  const node = imports.filter(({ folder, target }) => folder === 'core' && target.startsWith('node:'));
  expect(node).toEqual([]);
});

test('nothing is exported wholesale', () => {
  const wholesale = files.filter(file => /^export \*/m.test(readFileSync(path.join(SRC, file), 'utf8')));
  expect(wholesale).toEqual([]);
});
