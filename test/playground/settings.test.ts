import { mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

import { InMemoryBackend } from 'routing-controllers-sessions';
import { LmdbBackend } from 'routing-controllers-sessions/lmdb';
import { SqliteBackend } from 'routing-controllers-sessions/sqlite';

import { backends } from '../../playground/backends.js';
import { readSettings } from '../../playground/settings.js';
import { SettingsError } from '../../playground/settings-error.js';
import { codeOf, readDocument, tableUnder } from '../docs/markdown.js';

const secret = '0123456789abcdef0123456789abcdef';

describe('readSettings', () => {
  let folder: string;
  beforeEach(() => (folder = mkdtempSync(path.join(tmpdir(), 'rcs-settings-'))));
  afterEach(() => rmSync(folder, { recursive: true }));

  test('listens on loopback and keeps sessions, and a secret of its own, over a restart, unless told otherwise', async () => {
    const { secretKey, openBackend, ...rest } = readSettings({ SESSION_FOLDER: folder });
    expect(rest).toEqual({ port: 3000, otherPort: 0, host: '127.0.0.1', backendName: 'sqlite' });
    const { backend, place, close } = await openBackend();
    expect(backend).toBeInstanceOf(SqliteBackend);
    expect(place).toBe(path.join(folder, 'sessions.db'));
    await backend.close();
    await close?.();
    expect(Buffer.from(secretKey, 'base64')).toHaveLength(32);
    expect(readSettings({ SESSION_FOLDER: folder }).secretKey).toBe(secretKey);
    expect(statSync(path.join(folder, 'secret')).mode & 0o777).toBe(0o600);
  });

  test('keeps sessions in LMDB', async () => {
    const { openBackend } = readSettings({ SESSION_BACKEND: 'lmdb', SESSION_FOLDER: path.join(folder, 'new') });
    const { backend, place } = await openBackend();
    expect(backend).toBeInstanceOf(LmdbBackend);
    expect(place).toBe(path.join(folder, 'new', 'sessions'));
    await backend.close();
  });

  test('makes up a secret at each start for sessions in memory', async () => {
    const { secretKey, openBackend } = readSettings({ SESSION_BACKEND: 'memory' });
    expect((await openBackend()).backend).toBeInstanceOf(InMemoryBackend);
    expect(readSettings({ SESSION_BACKEND: 'memory' }).secretKey).not.toBe(secretKey);
  });

  test.each([
    ['redis', 'REDIS_URL', 'redis://:hidden@127.0.0.1:1'],
    ['postgres', 'POSTGRES_URL', 'postgres://user:hidden@127.0.0.1:1/test'],
    ['mysql', 'MYSQL_URL', 'mysql://user:hidden@127.0.0.1:1/test'],
  ])(
    'a %s that does not answer is refused by the name of its variable, without its password',
    async (name, variable, url) => {
      const { openBackend } = readSettings({ SESSION_BACKEND: name, SESSION_SECRET: secret, [variable]: url });
      const refused: unknown = await openBackend().catch((error: unknown) => error);
      expect(refused).toBeInstanceOf(SettingsError);
      expect(String(refused)).toContain(`${variable}: no answer from 127.0.0.1:1`);
      expect(String(refused)).not.toContain('hidden');
    },
  );

  test('takes what is set', () => {
    const env = { PORT: '0', HOST: '::1', SESSION_SECRET: secret, SESSION_BACKEND: 'memory', NODE_ENV: 'production' };
    expect(readSettings(env)).toMatchObject({ port: 0, host: '::1', secretKey: secret, backendName: 'memory' });
  });

  test('takes an empty variable for one that is not set', () => {
    const env = { PORT: '', HOST: '', SESSION_BACKEND: '', SESSION_FOLDER: folder };
    expect(readSettings(env)).toMatchObject({ port: 3000, host: '127.0.0.1', backendName: 'sqlite' });
  });

  test.each([
    [{ PORT: 'http' }, 'PORT: http; write a whole number from 0 to 65535, where 0 takes any free port'],
    [{ PORT: '65536' }, 'PORT: 65536; write'],
    [{ PORT: '-1' }, 'PORT: -1; write'],
    [{ PORT: '1e3' }, 'PORT: 1e3; write'],
    [{ OTHER_PORT: 'any' }, 'OTHER_PORT: any; write'],
    [{ SESSION_BACKEND: 'mongo' }, 'SESSION_BACKEND: mongo; write one of memory, sqlite, lmdb, redis, postgres, mysql'],
    [{ SESSION_BACKEND: 'toString' }, 'SESSION_BACKEND: toString; write one of memory'],
    [{ SESSION_SECRET: 'helloworld' }, 'SESSION_SECRET: 10 bytes; write at least 32 bytes. Try: openssl'],
    [{ NODE_ENV: 'production' }, 'SESSION_SECRET: not set, and this is production; write at least 32 bytes'],
  ])('refuses %j, saying what to write', (env, message) => {
    expect(() => readSettings(env)).toThrow(SettingsError);
    expect(() => readSettings(env)).toThrow(message);
  });

  test('docs/playground.md lists every variable that is read, and no other', async () => {
    const read = new Set<string>();
    const settings: Record<string, string> = {
      SESSION_FOLDER: folder,
      REDIS_URL: 'redis://127.0.0.1:1',
      POSTGRES_URL: 'postgres://127.0.0.1:1/test',
      MYSQL_URL: 'mysql://127.0.0.1:1/test',
    };
    for (const SESSION_BACKEND of Object.keys(backends)) {
      const env = new Proxy<NodeJS.ProcessEnv>(
        { ...settings, SESSION_BACKEND },
        { get: (target, name) => (read.add(String(name)), target[String(name)]) },
      );
      const opened = await readSettings(env)
        .openBackend()
        .catch(() => undefined);
      await opened?.backend.close();
      await opened?.close?.();
    }
    const documented = tableUnder(readDocument('docs/playground.md'), 'Settings').flatMap(([name]) => codeOf(name));
    expect(documented.sort()).toEqual([...read].sort());
  });
});
