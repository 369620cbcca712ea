import 'reflect-metadata';

import { InMemoryBackend, SessionCookie, SessionConfigurationError } from 'routing-controllers-sessions';

import { NEAR_CACHE } from '../../src/core/near-cache.js';
import { NearCache } from '../../src/session/near-cache.js';
import { FaultyBackend } from '../support/faulty-backend.js';
import { visit } from '../support/in-process.js';
import { UserSession } from '../support/life.js';
import { sessionRecord } from '../support/session-record.js';
import { ToldBackend } from '../support/told-backend.js';
import { until } from '../support/engines.js';
import { signIn } from 'routing-controllers-sessions/testing';

/** A cache, what it reads from, and another one who writes to the same store. */
function caching(sessions = 100) {
  const store = new ToldBackend();
  const near = new NearCache(store, sessions);
  const read = (id: string): Promise<unknown> => near.fill(id, () => store.read(id));
  return { store, near, read, other: store.store };
}

describe('a near-cache', () => {
  test('has a copy of what was read, and none of what was not', async () => {
    const { store, near, read } = caching();
    const record = sessionRecord();
    await store.create(record);
    expect(near.get(record.id)).toBeUndefined();
    expect(await read(record.id)).toEqual(record);
    expect(near.get(record.id)).toEqual(record);
    expect(Object.isFrozen(near.get(record.id))).toBe(true);
    expect(await read('nobody')).toBeUndefined();
    expect(near.get('nobody')).toBeUndefined();
  });

  test('drops what another one has changed or ended, and everything after lost news', async () => {
    const { store, near, read, other } = caching();
    const records = ['changed', 'ended', 'kept'].map(id => sessionRecord({ id }));
    for (const record of records) {
      await other.create(record);
      await read(record.id);
    }
    await other.update({ ...records[0]!, data: '{"n":1}' }, 1);
    await other.delete('ended');
    expect(records.map(({ id }) => near.get(id) !== undefined)).toEqual([false, false, true]);
    store.listener?.({ is: 'lost' });
    expect(near.get('kept')).toBeUndefined();
  });

  test('keeps nothing that changed while it was being read: 500 reads against changes', async () => {
    const { store, near, other } = caching();
    let old = 0;
    for (let round = 0; round < 500; round++) {
      const record = sessionRecord({ id: `r${round}` });
      await other.create(record);
      const reading = near.fill(record.id, async () => {
        const before = await store.read(record.id);
        for (let turn = round % 4; turn > 0; turn--) await Promise.resolve();
        return before;
      });
      for (let turn = round % 7; turn > 0; turn--) await Promise.resolve();
      await other.update({ ...record, data: '{"n":1}' }, 1);
      await reading;
      const copy = near.get(record.id);
      if (copy && copy.version !== 2) old++;
    }
    expect(old).toBe(0);
  });

  test('counts for nothing when the news are more than a second behind, or the line is cut', async () => {
    const { store, near, read } = caching();
    const record = sessionRecord();
    await store.create(record);
    await read(record.id);
    store.line = 'silent';
    expect(near.get(record.id)).toEqual(record);
    await until(() => near.get(record.id) === undefined, 'the end of what is known', 10);
    // What is read meanwhile is not kept.
    await read(record.id);
    store.line = 'good';
    expect(near.get(record.id)).toBeDefined();
    store.line = 'cut';
    expect(near.get(record.id)).toBeUndefined();
    near.clear();
    await read(record.id);
    store.line = 'good';
    expect(near.get(record.id)).toBeUndefined();
  });

  test('keeps no more than it was told, and the most recent ones', async () => {
    const { store, near, read } = caching(100);
    for (let n = 0; n < 1_000; n++) {
      await store.create(sessionRecord({ id: `s${n}` }));
      await read(`s${n}`);
    }
    const kept = Array.from({ length: 1_000 }, (_, n) => near.get(`s${n}`)).filter(Boolean);
    expect(kept.length).toBeLessThanOrEqual(100);
    expect(kept.length).toBeGreaterThanOrEqual(50);
    expect(near.get('s999')).toBeDefined();
    await store.create(sessionRecord({ id: 'large', data: JSON.stringify('x'.repeat(5_000)) }));
    await read('large');
    expect(near.get('large')).toBeUndefined();
  });

  test('of a closed service watches nothing', () => {
    const { store, near } = caching();
    expect(store.watches).toBe(1);
    near.close();
    expect(store.watches).toBe(0);
  });
});

describe('the option nearCache', () => {
  const secretKey = '0123456789abcdef0123456789abcdef';
  const opened: SessionCookie<UserSession>[] = [];
  afterEach(async () => {
    for (const cookie of opened.splice(0)) await cookie.close();
  });
  const node = (backend: InMemoryBackend | FaultyBackend, nearCache?: boolean): SessionCookie<UserSession> => {
    const options = { secretKey, dataModel: UserSession, backend };
    const cookie = new SessionCookie(nearCache === undefined ? options : { ...options, nearCache });
    opened.push(cookie);
    return cookie;
  };
  const tokenOf = async (cookie: SessionCookie<UserSession>): Promise<string> =>
    /(?:^|; )session=([^;]*)/.exec(await signIn(cookie, { username: 'ada' }))?.[1] ?? '';

  test('has a session in use cost no read, with a backend that asks for it, too', async () => {
    for (const asks of [false, true]) {
      const store = new ToldBackend();
      Object.defineProperty(store, NEAR_CACHE, { value: asks });
      const here = asks ? node(store) : node(store, true);
      const token = await tokenOf(here);
      const use = (): Promise<unknown> =>
        visit(here, { method: 'GET', token }, async ctx => {
          expect((await here.getSession(ctx))?.data.username).toBe('ada');
        });
      await use();
      const before = store.reads;
      for (let n = 0; n < 100; n++) await use();
      expect(store.reads).toBe(before);
    }
  });

  test('set to false wins over the backend', async () => {
    const store = new ToldBackend();
    Object.defineProperty(store, NEAR_CACHE, { value: true });
    const here = node(store, false);
    await tokenOf(here);
    expect(store.watches).toBe(0);
  });

  test('shows this node’s own writes and ends at once, also where the news of them never come', async () => {
    const store = new ToldBackend();
    const here = node(store, true);
    let wrong = 0;
    for (let round = 0; round < 100; round++) {
      store.line = 'good';
      const token = await tokenOf(here);
      const visits = async (): Promise<number | undefined> => {
        let seen: number | undefined = -1;
        await visit(here, { method: 'GET', token }, async ctx => {
          const session = await here.getSession(ctx);
          seen = session && (session.data.visits ?? 0);
        });
        return seen;
      };
      await visits();
      await visits();
      store.line = 'deaf';
      await visit(here, { token }, async ctx => {
        await (await here.getSession(ctx))?.update(data => (data.visits = 7));
      });
      if ((await visits()) !== 7) wrong++;
      const id = token.split('.')[0]!;
      if (round % 2) await here.endSession(id);
      else await here.endSessions('ada');
      if ((await visits()) !== undefined) wrong++;
    }
    expect(wrong).toBe(0);
  });

  test('is refused at the first use with a backend that tells nothing', async () => {
    const mute = new FaultyBackend();
    await expect(signIn(node(mute, true), { username: 'ada' })).rejects.toThrow(SessionConfigurationError);
    await expect(signIn(node(mute, true), { username: 'ada' })).rejects.toThrow(
      /nearCache: FaultyBackend does not tell/,
    );
  });
});
