import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, symlinkSync } from 'node:fs';
import path from 'node:path';

import { LmdbBackend } from '../../src/backends/lmdb/backend.js';
import { documents, root } from '../docs/markdown.js';
import { asShown, patternOf, stepsOf } from '../docs/transcript.js';
import { bundleModule } from '../support/child.js';
import { sessionRecord } from '../support/session-record.js';

const HOUR = 3_600_000;
const folder = mkdtempSync(path.join(root, 'build', 'command-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** The store of the page: whose sessions, how many, and the hours since their log-ins. */
const SESSIONS: [string | undefined, number, number][] = [
  ['ada', 3, 2],
  ['bob', 1, 30],
  ['mallory', 25, 0.1],
  [undefined, 4, 50],
];

test('docs/command.md: each command prints what is below it', async () => {
  mkdirSync(path.join(folder, 'data'));
  symlinkSync(path.join(root, 'node_modules'), path.join(folder, 'node_modules'));
  const backend = new LmdbBackend({ path: path.join(folder, 'data/sessions') });
  const now = Date.now();
  for (const [principal, count, hours] of SESSIONS)
    for (let n = 0; n < count; n++) {
      const createdAt = now - hours * HOUR - n;
      const times = { createdAt, lastSeenAt: now, expiresAt: now + HOUR };
      const client = { ip: '198.51.100.7', userAgent: 'Firefox' };
      await backend.create(sessionRecord({ ...times, ...(principal !== undefined && { principal, ...client }) }));
    }
  await backend.create(sessionRecord({ createdAt: now - 99 * HOUR, expiresAt: now - 9 * HOUR }));

  const page = documents().find(document => document.path === 'docs/command.md')!;
  const steps = page.blocks
    .filter(({ language, directives }) => language === 'console' && directives.has('command'))
    .flatMap(({ text }) => stepsOf(text));
  const { SESSION_STORE: _, ...env } = process.env;
  let [id, store] = ['', ''];
  const failed: string[] = [];
  for (const { command, output } of steps) {
    store = /^export SESSION_STORE=(.*)$/.exec(command)?.[1] ?? store;
    const line = command.replace('npx routing-controllers-sessions', `node ${bundleModule('../../src/command/main')}`);
    const { stdout, stderr } = spawnSync('bash', ['-c', line.replace('<id>', id)], {
      cwd: folder,
      encoding: 'utf8',
      env: { ...env, SESSION_STORE: store },
    });
    id = /^([\w-]{22}) /m.exec(stdout)?.[1] ?? id;
    const shown = asShown(stdout + stderr);
    if (!patternOf(output).test(shown)) failed.push(`$ ${command}\n${shown}`);
  }
  await backend.close();
  expect(steps.length).toBeGreaterThan(8);
  expect(failed).toEqual([]);
});
