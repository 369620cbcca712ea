import 'reflect-metadata';

import { InMemoryBackend, type SessionRecord } from 'routing-controllers-sessions';

import { Tokens } from '../../src/cookie/tokens.js';
import { SessionEventHub } from '../../src/session/events.js';
import { Model } from '../../src/session/model.js';
import type { Transport } from '../../src/session/session.js';
import { Sessions } from '../../src/session/sessions.js';

interface Basket {
  apples: { count: number };
}

const LIMITS = {
  idleTimeout: 60_000,
  absoluteTimeout: 60_000,
  touchInterval: 60_000,
  backendTimeout: 2_000,
  maxSessionsPerPrincipal: Infinity,
};

const transport: Transport = { assertOpen: () => undefined, issue: () => undefined, clear: () => undefined };

function sessionsOn(backend: InMemoryBackend): Sessions<Basket> {
  const tokens = new Tokens(['0123456789abcdef0123456789abcdef'], 'session');
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

test('a record in memory is read without a promise', async () => {
  const sessions = sessionsOn(new InMemoryBackend());
  const { id } = await sessions.create({ apples: { count: 1 } }, transport, {}, []);
  expect(sessions.load(id, transport, false)).not.toBeInstanceOf(Promise);
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
  const { id } = await sessions.create({ apples: { count: 1 } }, transport, {}, []);
  await sessions.load(id, transport, false);
  expect(asked).toEqual([id]);
});

test('a read that is watched is asked', async () => {
  const backend = new InMemoryBackend();
  const read = jest.spyOn(backend, 'read');
  const sessions = sessionsOn(backend);
  const { id } = await sessions.create({ apples: { count: 1 } }, transport, {}, []);
  await sessions.load(id, transport, false);
  expect(read).toHaveBeenCalledTimes(1);
});

test('what one request changes in nested data, no other sees before it is saved, though the text was decoded once', async () => {
  const sessions = sessionsOn(new InMemoryBackend());
  const { id } = await sessions.create({ apples: { count: 1 } }, transport, {}, []);
  const [one, other] = [await sessions.load(id, transport, false), await sessions.load(id, transport, false)];
  one!.data.apples.count = 2;
  expect(other!.data.apples.count).toBe(1);
  expect((await sessions.load(id, transport, false))!.data.apples.count).toBe(1);

  await one!.commit();
  expect((await sessions.load(id, transport, false))!.data.apples.count).toBe(2);
  expect(other!.data.apples.count).toBe(1);
});
