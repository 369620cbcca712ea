import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';

import { buildSync } from 'esbuild';

const root = path.resolve(__dirname, '../..');

/** The package as it is published, from what the sources are at this moment, in a folder where Node finds it. */
let work: string;
beforeAll(() => {
  work = mkdtempSync(path.join(root, 'node_modules', '.koa-alone-'));
  const sources = readdirSync(path.join(root, 'src'), { recursive: true, encoding: 'utf8' });
  const home = path.join(work, 'node_modules/routing-controllers-sessions');
  mkdirSync(home, { recursive: true });
  buildSync({
    entryPoints: sources.filter(file => file.endsWith('.ts')).map(file => path.join(root, 'src', file)),
    outdir: path.join(home, 'dist'),
    outbase: path.join(root, 'src'),
    format: 'cjs',
    platform: 'node',
  });
  const { name, type, exports } = JSON.parse(readFileSync(path.join(root, 'package.json'), 'utf8')) as object & {
    name: string;
    type: string;
    exports: object;
  };
  writeFileSync(path.join(home, 'package.json'), JSON.stringify({ name, type, exports }));
});
afterAll(() => {
  rmSync(work, { recursive: true });
});

const LIBRARY = 'routing-controllers-sessions/koa';
const PROGRAM = `
  class User { username = ''; }
  Principal()(User.prototype, 'username');
  SessionData(User);
  const options = { secretKey: 'x'.repeat(32), dataModel: User };
  const sessions = new SessionCookie({ ...options, backend: new InMemoryBackend() });
  sessions.requireSession();
  const without = await new SessionCookie(options).listSessions('ada').catch(error => error.message);
  console.log(JSON.stringify({ loaded: Object.keys(require.cache), without }));`;

describe.each([
  [
    'CommonJS',
    'app.cjs',
    `require('reflect-metadata');
     const { InMemoryBackend, Principal, SessionCookie, SessionData } = require('${LIBRARY}');
     (async () => {${PROGRAM}})();`,
  ],
  [
    'ESM',
    'app.mjs',
    `import 'reflect-metadata';
     import { createRequire } from 'node:module';
     import { InMemoryBackend, Principal, SessionCookie, SessionData } from '${LIBRARY}';
     const require = createRequire(import.meta.url);
     ${PROGRAM}`,
  ],
])('the entry point for Koa, from %s', (_format, file, program) => {
  let answer: { loaded: string[]; without: string };
  beforeAll(() => {
    writeFileSync(path.join(work, file), program);
    const { stdout, stderr } = spawnSync(process.execPath, [file], { cwd: work, encoding: 'utf8' });
    expect(stderr).toBe('');
    answer = JSON.parse(stdout) as typeof answer;
  });

  test('loads neither routing-controllers nor a module of the wing for it', () => {
    const ours = answer.loaded.filter(module => module.includes('/routing-controllers-sessions/dist/'));
    expect(ours.length).toBeGreaterThan(20);
    expect(ours.filter(module => module.includes('/dist/controllers/'))).toEqual([]);
    expect(answer.loaded.filter(module => /\/node_modules\/(routing-controllers|typedi)\//.test(module))).toEqual([]);
  });

  test('requires the option backend, with an error that names it', () => {
    expect(answer.without).toMatch(/^No session backend\. Give SessionCookie the option backend/);
  });
});
