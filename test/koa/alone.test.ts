import { spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import path from 'node:path';

import { type Published, publish } from '../support/published';

let published: Published;
beforeAll(() => {
  published = publish();
});
afterAll(() => published.remove());

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
    writeFileSync(path.join(published.folder, file), program);
    const { stdout, stderr } = spawnSync(process.execPath, [file], { cwd: published.folder, encoding: 'utf8' });
    expect(stderr).toBe('');
    answer = JSON.parse(stdout) as typeof answer;
  });

  test('loads neither routing-controllers nor a module of the wing for it', () => {
    const ours = answer.loaded.flatMap(module => module.split('/routing-controllers-sessions/dist/')[1] ?? []);
    expect(ours.sort()).toEqual(['koa/index.js', 'shared/core.js', 'shared/koa.js']);
    expect(answer.loaded.filter(module => /\/node_modules\/(routing-controllers|typedi)\//.test(module))).toEqual([]);
  });

  test('requires the option backend, with an error that names it', () => {
    expect(answer.without).toMatch(/^No session backend\. Give SessionCookie the option backend/);
  });
});
