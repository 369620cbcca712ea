import 'reflect-metadata';

import { InMemoryBackend, type SessionRecord, SessionUnavailableError } from 'routing-controllers-sessions';

import { AT_ONCE, type AtOnce } from '../../src/core/at-once.js';
import { SessionEventHub } from '../../src/session/events.js';
import { Model } from '../../src/model/model.js';
import { LiveSession } from '../../src/session/live-session.js';
import { Sessions } from '../../src/session/sessions.js';
import { TokenClient, tokens } from '../support/token-client.js';

interface Basket {
  apples: { count: number };
}

const LIMITS = {
  idleTimeout: 60_000,
  absoluteTimeout: 60_000,
  touchInterval: 60_000,
  backendTimeout: 2_000,
  maxSessionsPerPrincipal: Infinity,
  whenFull: 'evict' as const,
  nearCache: undefined,
  watchInterval: 1_000,
  watchTimeout: 60_000,
};

function sessionsOn(backend: InMemoryBackend): Sessions<Basket> {
  const model = new Model(Object as unknown as new () => Basket);
  return new Sessions(
    model,
    new SessionEventHub(),
    tokens,
    LIMITS,
    () => 1_000,
    () => backend,
  );
}

const client = new TokenClient();

async function logIn(sessions: Sessions<Basket>): Promise<LiveSession<Basket>> {
  return sessions.create({ apples: { count: 1 } }, { transport: client, client: {}, earlier: [] });
}

/** The session as the client's next request has it. */
async function load(sessions: Sessions<Basket>): Promise<LiveSession<Basket>> {
  const opened = await sessions.open(client.token, client, false);
  if (!(opened instanceof LiveSession)) throw new Error(opened.closed);
  return opened;
}

test('a record in memory is read without a promise', async () => {
  const sessions = sessionsOn(new InMemoryBackend());
  await logIn(sessions);
  expect(sessions.open(client.token, client, false)).not.toBeInstanceOf(Promise);
});

test('a subclass that overrides read is asked', async () => {
  const asked: string[] = [];
  class CountingBackend extends InMemoryBackend {
    override read(id: string): Promise<SessionRecord | undefined> {
      asked.push(id);
      return super.read(id);
    }
  }
  const sessions = sessionsOn(new CountingBackend());
  const { id } = await logIn(sessions);
  await load(sessions);
  expect(asked).toEqual([id]);
});

test('a read that is watched is asked', async () => {
  const backend = new InMemoryBackend();
  const read = jest.spyOn(backend, 'read');
  const sessions = sessionsOn(backend);
  await logIn(sessions);
  await load(sessions);
  expect(read).toHaveBeenCalledTimes(1);
});

test('a record in memory is updated without a promise', async () => {
  const backend = new InMemoryBackend();
  const sessions = sessionsOn(backend);
  const { id } = await logIn(sessions);
  const record = (await backend.read(id))!;
  expect(sessions.store.update(record, 1)).toBe('updated');
  expect(sessions.store.update(record, 1)).toBe('conflict');
});

test.each(['create', 'update'] as const)(
  '%s is asked where it is watched, or a subclass overrides it',
  async method => {
    const asked: string[] = [];
    class CountingBackend extends InMemoryBackend {
      override create(record: SessionRecord) {
        asked.push('create');
        return super.create(record);
      }
      override update(record: SessionRecord, expectedVersion: number) {
        asked.push('update');
        return super.update(record, expectedVersion);
      }
    }
    const watched = new InMemoryBackend();
    const spy = jest.spyOn(watched, method);
    for (const backend of [new CountingBackend(), watched]) {
      const session = await logIn(sessionsOn(backend));
      session.data.apples.count = 2;
      await session.commit();
    }
    expect(asked).toEqual(['create', 'update']);
    expect(spy).toHaveBeenCalledTimes(1);
  },
);

test('a write in memory that fails is reported and answered like any other failure', async () => {
  const backend = new InMemoryBackend();
  const atOnce: AtOnce = { read: () => undefined };
  Object.defineProperty(backend, AT_ONCE, { value: atOnce });
  const sessions = sessionsOn(backend);
  const session = await logIn(sessions);
  const failing = () => {
    throw new RangeError('no memory');
  };
  atOnce.writes = () => ({ create: failing, update: failing });
  const failures: unknown[] = [];
  sessions.events.on('unavailable', ({ operation, error }) => failures.push(operation, String(error)));

  session.data.apples.count = 2;
  await expect((async () => session.commit())()).rejects.toThrow(SessionUnavailableError);
  await expect(logIn(sessions)).rejects.toThrow(SessionUnavailableError);
  expect(failures).toEqual(['update', 'RangeError: no memory', 'create', 'RangeError: no memory']);
});

test('a thenable result of a change is awaited, with the changes that it makes', async () => {
  const sessions = sessionsOn(new InMemoryBackend());
  const session = await logIn(sessions);
  await session.update(data => {
    const thenable: PromiseLike<void> = {
      then: (resolve, reject) =>
        new Promise<void>(done => setImmediate(done)).then(() => void (data.apples.count = 7)).then(resolve, reject),
    };
    return thenable;
  });
  expect((await load(sessions)).data.apples.count).toBe(7);
});

test("a request's changes to nested data are invisible to others before they are saved, though the text was decoded once", async () => {
  const sessions = sessionsOn(new InMemoryBackend());
  await logIn(sessions);
  const [one, other] = [await load(sessions), await load(sessions)];
  one.data.apples.count = 2;
  expect(other.data.apples.count).toBe(1);
  expect((await load(sessions)).data.apples.count).toBe(1);

  await one.commit();
  expect((await load(sessions)).data.apples.count).toBe(2);
  expect(other.data.apples.count).toBe(1);
});
