import 'reflect-metadata';

import { InMemoryBackend, SessionConfigurationError, SessionCookie } from 'routing-controllers-sessions';

import { ENGINE_CLOCK } from '../../src/core/engine-clock.js';
import { SECRET } from '../support/app.js';
import { contextFor } from '../support/in-process.js';
import { UserSession } from '../support/life.js';

jest.mock('../../src/core/timers.js', () => jest.requireActual<object>('../support/fake-timers.js'));

class FailingBackend extends InMemoryBackend {
  error: Error = new Error('connect ECONNREFUSED 127.0.0.1:5432');
  override listByPrincipal() {
    return Promise.reject(this.error);
  }
}

let backend: FailingBackend;
let sessions: SessionCookie<UserSession>;
let emitWarning: jest.SpyInstance;

beforeEach(() => {
  jest.useFakeTimers();
  emitWarning = jest.spyOn(process, 'emitWarning').mockImplementation();
  backend = new FailingBackend();
  sessions = new SessionCookie({ secretKey: SECRET, dataModel: UserSession, backend });
});

afterEach(async () => {
  await sessions.close();
  emitWarning.mockRestore();
  jest.useRealTimers();
});

async function fail(times = 1): Promise<void> {
  for (let time = 0; time < times; time++)
    await expect(sessions.listSessions('ada')).rejects.toMatchObject({ code: 'ERR_SESSION_UNAVAILABLE' });
}

describe('a store that fails, and nobody listens to `unavailable`', () => {
  test('one process warning a minute, with the reason and what to write', async () => {
    await fail(5);
    expect(emitWarning.mock.calls).toEqual([
      [
        'The session backend failed: listByPrincipal',
        {
          type: 'SessionUnavailableWarning',
          detail: expect.stringMatching(
            /^connect ECONNREFUSED 127\.0\.0\.1:5432\n.*sessions\.on\('unavailable'/,
          ) as string,
        },
      ],
    ]);
    jest.advanceTimersByTime(59_000);
    await fail();
    expect(emitWarning).toHaveBeenCalledTimes(1);
    jest.advanceTimersByTime(1_000);
    await fail(5);
    expect(emitWarning).toHaveBeenCalledTimes(2);
  });

  test('none where somebody listens, and again when nobody does any more', async () => {
    const listener = jest.fn();
    sessions.on('unavailable', listener);
    await fail(2);
    expect(emitWarning).not.toHaveBeenCalled();
    expect(listener).toHaveBeenCalledTimes(2);
    sessions.off('unavailable', listener);
    await fail();
    expect(emitWarning).toHaveBeenCalledTimes(1);
  });

  test('no warning for the other events that nobody listens to', async () => {
    await expect(sessions.getSession(contextFor({ token: 'x' }))).resolves.toBeUndefined();
    expect(emitWarning).not.toHaveBeenCalled();
  });

  test('what is wrong with the set-up of the store is a 503, with the reason as its cause and in the warning', async () => {
    backend.error = new SessionConfigurationError('table: there is no table sessions. Make it once');
    await expect(sessions.listSessions('ada')).rejects.toMatchObject({ status: 503, cause: backend.error });
    expect(emitWarning.mock.calls[0]).toEqual([
      expect.any(String),
      expect.objectContaining({ detail: expect.stringContaining('there is no table sessions') as string }),
    ]);
  });
});

test('a full InMemoryBackend is worth one process warning a minute where nobody listens to `ended`', async () => {
  const full = new InMemoryBackend({ maxSessions: 1 });
  const busy = new SessionCookie({ secretKey: SECRET, dataModel: UserSession, backend: full });
  const logIns = async (): Promise<void> => {
    for (let n = 0; n < 5; n++) await busy.createSession({ username: `user ${n}` }, contextFor());
  };
  await logIns();
  await logIns();
  const [message, options] = emitWarning.mock.calls[0] as [string, { type: string; detail: string }];
  expect(emitWarning).toHaveBeenCalledTimes(1);
  expect(message).toContain('full');
  expect(options).toMatchObject({ type: 'SessionBackendFullWarning' });
  jest.advanceTimersByTime(60_000);
  await logIns();
  expect(emitWarning).toHaveBeenCalledTimes(2);
  busy.on('ended', () => undefined);
  jest.advanceTimersByTime(60_000);
  await logIns();
  expect(emitWarning).toHaveBeenCalledTimes(2);
  await busy.close();
});

test('a wrong clock is worth a process warning where nobody listens to `clock`', async () => {
  class OtherTime extends InMemoryBackend {
    [ENGINE_CLOCK] = () => Promise.resolve(Date.now() - 3_600_000);
  }
  const wrong = new SessionCookie({ secretKey: SECRET, dataModel: UserSession, backend: new OtherTime() });
  await wrong.createSession({ username: 'ada' }, contextFor());
  expect(emitWarning.mock.calls).toMatchObject([
    ["This machine's clock is 3600 seconds ahead of that of the session backend", { type: 'SessionClockWarning' }],
  ]);
  await wrong.close();
});
