import { InMemoryBackend } from 'routing-controllers-sessions';

import { readSettings } from '../../playground/settings.js';
import { SettingsError } from '../../playground/settings-error.js';

const secret = '0123456789abcdef0123456789abcdef';

describe('readSettings', () => {
  test('listens on loopback, keeps sessions in memory and makes up a secret, unless told otherwise', async () => {
    const { secretKey, openBackend, ...rest } = readSettings({});
    expect(rest).toEqual({ port: 3000, otherPort: 0, host: '127.0.0.1', backendName: 'memory' });
    expect(await openBackend()).toBeInstanceOf(InMemoryBackend);
    expect(Buffer.from(secretKey, 'base64')).toHaveLength(32);
    expect(readSettings({}).secretKey).not.toBe(secretKey);
  });

  test('takes what is set', () => {
    const env = { PORT: '0', HOST: '::1', SESSION_SECRET: secret, SESSION_BACKEND: 'memory', NODE_ENV: 'production' };
    expect(readSettings(env)).toMatchObject({ port: 0, host: '::1', secretKey: secret, backendName: 'memory' });
  });

  test('takes an empty variable for one that is not set', () => {
    const env = { PORT: '', HOST: '', SESSION_BACKEND: '' };
    expect(readSettings(env)).toMatchObject({ port: 3000, host: '127.0.0.1', backendName: 'memory' });
  });

  test.each([
    [{ PORT: 'http' }, 'PORT: http; write a whole number from 0 to 65535, where 0 takes any free port'],
    [{ PORT: '65536' }, 'PORT: 65536; write'],
    [{ PORT: '-1' }, 'PORT: -1; write'],
    [{ PORT: '1e3' }, 'PORT: 1e3; write'],
    [{ OTHER_PORT: 'any' }, 'OTHER_PORT: any; write'],
    [{ SESSION_BACKEND: 'mongo' }, 'SESSION_BACKEND: mongo; write one of memory'],
    [{ SESSION_BACKEND: 'toString' }, 'SESSION_BACKEND: toString; write one of memory'],
    [{ SESSION_SECRET: 'helloworld' }, 'SESSION_SECRET: 10 bytes; write at least 32 bytes. Try: openssl'],
    [{ NODE_ENV: 'production' }, 'SESSION_SECRET: not set, and this is production; write at least 32 bytes'],
  ])('refuses %j, saying what to write', (env, message) => {
    expect(() => readSettings(env)).toThrow(SettingsError);
    expect(() => readSettings(env)).toThrow(message);
  });
});
