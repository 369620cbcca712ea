/*
 * Writes the JavaScript that is published into dist, where tsc has written the types: one file for each entry, and three that
 * entries share. Loading a hundred small files took more than twice as long.
 *
 *     node scripts/bundle.mjs [FOLDER]
 */
import { chmodSync, readFileSync } from 'node:fs';
import path from 'node:path';

import { rollup } from 'rollup';
import ts from 'typescript';

import { root } from './run.mjs';

const SRC = path.join(root, 'src');
const DIST = path.resolve(root, process.argv[2] ?? 'dist');

/** The shared files, and the sources of each. The entry of an engine loads `core` alone, and that for Koa not `controllers`. */
const SHARED = {
  core: /^(core\/|backends\/[^/]+$)/,
  koa: /^(cookie|model|session|koa|backends\/memory)\//,
  controllers: /^controllers\//,
};

const manifest = JSON.parse(readFileSync(path.join(root, 'package.json'), 'utf8'));
const entries = [
  ...Object.values(manifest.exports).map(target => target.default),
  ...Object.values(manifest.bin),
].flatMap(file => (file === undefined ? [] : [path.relative('dist', file).replace(/\.js$/, '')]));

const { config } = ts.readConfigFile(path.join(root, 'tsconfig.build.json'), file => readFileSync(file, 'utf8'));
const { options } = ts.parseJsonConfigFileContent(config, ts.sys, root);
const compilerOptions = {
  ...options,
  emitDeclarationOnly: false,
  module: ts.ModuleKind.ESNext,
  moduleResolution: ts.ModuleResolutionKind.Bundler,
  sourceMap: true,
  removeComments: true,
};

/** Compiles each source as tsc does. */
const typescript = {
  name: 'typescript',
  resolveId: (id, importer) =>
    importer && id.startsWith('.') ? path.resolve(path.dirname(importer), id).replace(/\.js$/, '.ts') : undefined,
  transform: (code, fileName) => {
    const { outputText, sourceMapText } = ts.transpileModule(code, { fileName, compilerOptions });
    return { code: outputText, map: { ...JSON.parse(sourceMapText), sources: [path.basename(fileName)] } };
  },
};

const bundle = await rollup({
  input: Object.fromEntries(entries.map(entry => [entry, path.join(SRC, `${entry}.ts`)])),
  external: id => !id.startsWith('.') && !path.isAbsolute(id),
  plugins: [typescript],
  // What a file does when it is loaded is done, whether or not an entry uses its exports.
  treeshake: false,
  onwarn: warning => {
    throw new Error(warning.message, { cause: warning });
  },
});
await bundle.write({
  dir: DIST,
  format: 'cjs',
  interop: 'auto',
  exports: 'named',
  sourcemap: true,
  sourcemapExcludeSources: true,
  hoistTransitiveImports: false,
  entryFileNames: '[name].js',
  chunkFileNames: 'shared/[name].js',
  manualChunks: id => {
    const source = path.relative(SRC, id).split(path.sep).join('/');
    return Object.keys(SHARED).find(name => SHARED[name].test(source));
  },
});
for (const file of Object.values(manifest.bin)) chmodSync(path.join(DIST, path.relative('dist', file)), 0o755);
