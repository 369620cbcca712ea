// Checks the package as users get it: packs the tarball, lints it, installs it in a new project, compiles that project in
// strict mode and runs it, as CommonJS and as ESM.
import { execFileSync, spawn } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

import { checkToolChains } from './check-tool-chains.mjs';
import { freePort } from './test-support.mjs';

const root = path.resolve(import.meta.dirname, '..');
const manifest = JSON.parse(readFileSync(path.join(root, 'package.json'), 'utf8'));
const work = mkdtempSync(path.join(tmpdir(), 'rcs-package-'));

const run = (command, args, cwd) =>
  execFileSync(command, args, { cwd, stdio: ['ignore', 'pipe', 'inherit'], encoding: 'utf8' });
const say = line => console.log(`check-package: ${line}`);

try {
  const [{ filename, files }] = JSON.parse(
    run('npm', ['pack', '--json', '--silent', '--pack-destination', work], root),
  );
  const tarball = path.join(work, filename);
  const stray = files
    .map(file => file.path)
    .filter(
      file => !/^(dist\/.*\.(js|d\.ts)(\.map)?|src\/.*\.ts|package\.json|README\.md|CHANGELOG\.md|LICENSE)$/.test(file),
    );
  if (stray.length > 0) throw new Error(`files that do not belong in the tarball: ${stray.join(', ')}`);
  say(`${filename}, ${files.length} files`);

  const packed = new Set(files.map(file => file.path));
  const maps = [...packed].filter(file => file.endsWith('.map'));
  const lost = maps.filter(file => !sourcesOf(file).every(source => packed.has(source)));
  if (maps.length === 0 || lost.length > 0) throw new Error(`maps without their sources: ${lost.join(', ') || 'all'}`);
  say(`${maps.length} source and declaration maps lead to sources in the tarball`);

  run('npx', ['publint', tarball, '--strict'], root);
  say('publint finds nothing');
  run('npx', ['attw', tarball, '--profile', 'node16'], root);
  say('are-the-types-wrong finds nothing');

  // The versions that this repository is developed with, so that a new release of a peer cannot change the result.
  const version = name => `${name}@${manifest.devDependencies[name]}`;
  const peers = [
    'routing-controllers',
    'koa',
    'reflect-metadata',
    'class-validator',
    'class-transformer',
    'typedi',
    '@opentelemetry/api',
  ];
  const tools = ['typescript', '@types/koa', '@types/node'];
  const consumer = path.join(work, 'consumer');
  mkdirSync(consumer);
  writeFileSync(path.join(consumer, 'package.json'), JSON.stringify({ name: 'consumer', private: true }));
  const install = (folder, packages) =>
    run('npm', ['install', '--silent', '--no-audit', '--no-fund', tarball, ...peers.map(version), ...packages], folder);
  install(consumer, tools.map(version));

  for (const [type, name] of [
    ['commonjs', 'CommonJS'],
    ['module', 'ESM'],
  ]) {
    const project = path.join(consumer, type);
    mkdirSync(project);
    cpSync(path.join(root, 'test/consumer/app.ts'), path.join(project, 'app.ts'));
    writeFileSync(path.join(project, 'package.json'), JSON.stringify({ name: type, private: true, type }));
    const compilerOptions = {
      target: 'ES2022',
      module: 'node16',
      strict: true,
      exactOptionalPropertyTypes: true,
      noUncheckedIndexedAccess: true,
      experimentalDecorators: true,
      emitDecoratorMetadata: true,
      esModuleInterop: true,
      // The types of routing-controllers' own dependencies do not pass; ours are checked by the build.
      skipLibCheck: true,
      types: ['node'],
    };
    writeFileSync(path.join(project, 'tsconfig.json'), JSON.stringify({ compilerOptions, files: ['app.ts'] }));
    run('npx', ['tsc', '-p', project], consumer);
    run('node', ['app.js'], project);
    say(`a strict ${name} project compiles against it and runs`);
  }

  const once = [
    "import * as imported from 'routing-controllers-sessions';",
    "import { createRequire } from 'node:module';",
    "import 'reflect-metadata';",
    "const required = createRequire(import.meta.url)('routing-controllers-sessions');",
    'const names = Object.keys(required);',
    'const other = names.filter(name => imported[name] !== required[name]);',
    "if (names.length === 0 || other.length > 0) throw new Error(`two instances: ${other.join(', ')}`);",
  ];
  writeFileSync(path.join(consumer, 'module', 'once.mjs'), once.join('\n'));
  run('node', ['once.mjs'], path.join(consumer, 'module'));
  say('require and import get one and the same module');

  const command = (...args) => run('npx', ['--no-install', manifest.name, ...args], consumer);
  const help = command('--help');
  const unnamed = ['secret', 'migrate', 'check', 'stats', 'list', 'end', 'backup'].filter(name => !help.includes(name));
  if (unnamed.length > 0) throw new Error(`the command's help does not name ${unnamed.join(', ')}`);
  if (!/^[\w-]{43}\n$/.test(command('secret'))) throw new Error('the command makes no secret');
  say(`npx ${manifest.name} runs, without a driver`);

  checkToolChains(path.join(work, 'tool-chains'), install, say);

  await getStarted(path.join(work, 'getting-started'), tarball, version);
  say('docs/getting-started.md works word for word');
} finally {
  rmSync(work, { recursive: true, force: true });
}

/** The sources that a map names, as paths in the package. */
function sourcesOf(map) {
  const { sourceRoot, sources } = JSON.parse(readFileSync(path.join(root, map), 'utf8'));
  return sources.map(source => path.posix.join(path.posix.dirname(map), sourceRoot ?? '', source));
}

/**
 * Follows docs/getting-started.md in an empty folder. The package is the tarball, other packages have the versions that this
 * repository is developed with, and the port is a free one.
 */
async function getStarted(folder, tarball, version) {
  const text = readFileSync(path.join(root, 'docs/getting-started.md'), 'utf8');
  const files = {};
  let current;
  for (const [, directives, content] of text.matchAll(/<!-- snippet: (.*) -->\n```\w+\n([^]*?)\n```/g)) {
    current = /file=(\S+)/.exec(directives)?.[1] ?? (directives.includes('continues') ? current : undefined);
    if (current !== undefined) files[current] = `${files[current] ?? ''}${content}\n`;
  }
  const commands = [...text.matchAll(/```sh\n([^]*?)\n```/g)].flatMap(([, block]) => block.split('\n'));
  const [serve] = commands.splice(commands.indexOf('node server.js'), 1);
  const port = String(await freePort());

  mkdirSync(folder);
  for (const [name, content] of Object.entries(files))
    writeFileSync(path.join(folder, name), content.replaceAll('3000', port));
  for (const command of commands) {
    const exact = command.replaceAll(/ (@?[a-z][\w./-]*)(?= |$)/g, (word, name) =>
      name === manifest.name ? ` ${tarball}` : name in manifest.devDependencies ? ` ${version(name)}` : word,
    );
    run('sh', ['-c', exact], folder);
  }

  const server = spawn('sh', ['-c', `exec ${serve}`], { cwd: folder, stdio: 'inherit' });
  try {
    const answer = await ask(`http://localhost:${port}/visits`, server);
    if (answer.status !== 403) throw new Error(`server.js answered ${answer.status} instead of 403`);
  } finally {
    server.kill();
  }
}

async function ask(url, server) {
  for (;;) {
    try {
      return await fetch(url);
    } catch (error) {
      if (server.exitCode !== null) throw new Error('server.js ended before it answered', { cause: error });
      await new Promise(resolve => setTimeout(resolve, 50));
    }
  }
}
