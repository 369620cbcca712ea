/*
 * Runs the consumer's application (test/consumer/app.ts) with the tools of docs/tool-chains.md, in a project that has the
 * packed tarball: with the settings of that page it works, and without them the server is refused when it is made, with the
 * setting to write.
 */
import { spawnSync } from 'node:child_process';
import { cpSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';

const root = path.resolve(import.meta.dirname, '..');
const REFUSAL = /nothing is injected into its constructor/;

const page = readFileSync(path.join(root, 'docs/tool-chains.md'), 'utf8');
const swcrc = /Write this as `\.swcrc`:\s+```json\n([^]*?)```/.exec(page)?.[1];
const vitestConfig = /## Vitest 3[^]*?```js\n([^]*?)```/.exec(page)?.[1];
const withoutMetadata = /file=app\.ts [^\n]*proof=without-metadata -->\s+```ts\n([^]*?)```/.exec(page)?.[1];
if (!swcrc || !vitestConfig || !withoutMetadata) throw new Error('docs/tool-chains.md lacks one of its settings');

const decorators = { experimentalDecorators: true };
const withTypes = { ...decorators, emitDecoratorMetadata: true };

/** Transforms app.ts with SWC and the .swcrc that lies there, and runs the result. */
const swc = [
  "const { transformFileSync } = require('@swc/core');",
  "require('node:fs').writeFileSync('app.js', transformFileSync('app.ts').code);",
  "require('./app.js');",
].join('\n');
const vitest = "import { test } from 'vitest';\nimport { done } from './app';\ntest('the application', () => done);\n";

/** With a version of the page's "Tried with" line. */
const version = tool => {
  const [found] = new RegExp(`(?<=${tool} )\\d+\\.\\d+\\.\\d+`, 'i').exec(page) ?? [];
  if (!found) throw new Error(`docs/tool-chains.md names no version of ${tool}`);
  return found;
};

const TOOLS = [
  {
    name: 'tsx',
    packages: [`tsx@${version('tsx')}`],
    works: [],
    refused: [{ 'tsconfig.json': tsconfig(decorators) }],
    command: ['tsx', 'app.ts'],
  },
  {
    name: 'SWC',
    packages: [`@swc/core@${version('SWC')}`],
    works: [{ '.swcrc': swcrc, 'run.js': swc }],
    refused: [{ '.swcrc': swcrc.replace('"decoratorMetadata": true', '"decoratorMetadata": false'), 'run.js': swc }],
    command: ['node', 'run.js'],
  },
  {
    name: 'Vitest 4',
    packages: [`vitest@${version('Vitest')}`, 'vite@8'],
    works: [{ 'tsconfig.json': tsconfig(withTypes), 'app.test.ts': vitest }],
    refused: [{ 'tsconfig.json': tsconfig(decorators), 'app.test.ts': vitest }],
    command: ['vitest', 'run'],
  },
  {
    name: 'Vitest 3',
    packages: [`vitest@${version('and')}`, 'vite@7', 'unplugin-swc', `@swc/core@${version('SWC')}`],
    works: [
      {
        'tsconfig.json': tsconfig(withTypes),
        '.swcrc': swcrc,
        'vitest.config.mjs': vitestConfig,
        'app.test.ts': vitest,
      },
    ],
    refused: [{ 'tsconfig.json': tsconfig(withTypes), 'app.test.ts': vitest }],
    command: ['vitest', 'run'],
  },
];

function tsconfig(compilerOptions) {
  return JSON.stringify({ compilerOptions: { target: 'ES2022', ...compilerOptions } });
}

/**
 * @param work a folder to work in
 * @param install installs the tarball, its peers and further packages in a folder
 * @param say gets a line for each tool that was tried
 */
export function checkToolChains(work, install, say) {
  // In the gate one of them, because each installs a project of its own.
  const tools = process.env.CI === 'true' ? TOOLS.slice(0, 1) : TOOLS;
  for (const { name, packages, works, refused, command } of tools) {
    const folder = path.join(work, name.replace(' ', '-').toLowerCase());
    mkdirSync(folder, { recursive: true });
    writeFileSync(
      path.join(folder, 'package.json'),
      JSON.stringify({ name: 'tools', private: true, type: 'commonjs' }),
    );
    install(folder, packages);
    const attempts = [
      ...works.map(files => ({ files, works: true })),
      ...refused.map(files => ({ files, works: false })),
    ];
    for (const [n, attempt] of attempts.entries()) {
      const project = path.join(folder, String(n));
      mkdirSync(project);
      cpSync(path.join(root, 'test/consumer/app.ts'), path.join(project, 'app.ts'));
      for (const [file, text] of Object.entries(attempt.files)) writeFileSync(path.join(project, file), text);
      const { status, stdout, stderr } = spawnSync('npx', command, { cwd: project, encoding: 'utf8' });
      const asExpected = attempt.works ? status === 0 : status !== 0 && REFUSAL.test(stdout + stderr);
      if (!asExpected) throw new Error(`${name}, ${JSON.stringify(attempt.files)}: ${status}\n${stdout}\n${stderr}`);
      say(`${name} ${attempt.works ? 'runs the application' : 'without types is refused when the server is made'}`);
    }
    if (name === 'tsx') runWithoutTypes(folder, command, say);
  }
}

/** The page's application that names its types itself. */
function runWithoutTypes(folder, command, say) {
  const project = path.join(folder, 'by-hand');
  mkdirSync(project);
  writeFileSync(path.join(project, 'tsconfig.json'), tsconfig(decorators));
  const use = [
    'const server = app.listen(0, async () => {',
    '  const url = `http://127.0.0.1:${(server.address() as { port: number }).port}`;',
    "  const json = { 'content-type': 'application/json' };",
    "  const login = await fetch(`${url}/login`, { method: 'POST', headers: json, body: JSON.stringify({ username: 'ada' }) });",
    "  const cookie = login.headers.get('set-cookie')!.split(';')[0]!;",
    '  const me = await (await fetch(`${url}/me`, { headers: { cookie } })).text();',
    '  console.log(me);',
    '  process.exit(me === \'{"username":"ada","born":1815}\' ? 0 : 1);',
    '});',
  ];
  writeFileSync(path.join(project, 'app.ts'), `${withoutMetadata}\n${use.join('\n')}\n`);
  const { status, stdout, stderr } = spawnSync('npx', command, { cwd: project, encoding: 'utf8' });
  if (status !== 0) throw new Error(`tsx, types written by hand: ${status}\n${stdout}\n${stderr}`);
  say("tsx runs the page's application that names its types itself");
}
