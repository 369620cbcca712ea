import 'reflect-metadata';

import fc from 'fast-check';
import { InMemoryBackend, type SessionRecord } from 'routing-controllers-sessions';

import { AT_ONCE } from '../../src/core/at-once.js';
import { Largest, ORDINARY } from '../../src/backends/memory/largest.js';
import { seed } from '../support/seed.js';
import { sessionRecord } from '../support/session-record.js';
import { rounds } from '../support/rounds.js';

const IDS = ['a', 'b', 'c', 'd', 'e', 'f'];
const PRINCIPALS = [undefined, 'ada', 'bob'];
const MAX_SESSIONS = 4;

function recordOf(id: string, principal: string | undefined, version: number, lastSeenAt: number): SessionRecord {
  const times = { createdAt: 0, lastSeenAt, expiresAt: 1e6 };
  const owner = principal === undefined ? {} : { principal };
  return sessionRecord({ id, data: 'x', proof: `proof of ${lastSeenAt}`, version, ...times, ...owner });
}

type Step = [kind: 'create' | 'update' | 'touch' | 'delete' | 'end', id: string, principal: string | undefined];

const step: fc.Arbitrary<Step> = fc.tuple(
  fc.constantFrom('create', 'create', 'update', 'touch', 'delete', 'end'),
  fc.constantFrom(...IDS),
  fc.constantFrom(...PRINCIPALS),
);

/** What is kept, told with an array: the least recently seen first. */
class Told {
  kept: SessionRecord[] = [];

  find(id: string): SessionRecord | undefined {
    return this.kept.find(record => record.id === id);
  }

  toEnd(record: SessionRecord): void {
    this.kept = [...this.kept.filter(({ id }) => id !== record.id), record].slice(-MAX_SESSIONS);
  }

  remove(gone: (record: SessionRecord) => boolean): void {
    this.kept = this.kept.filter(record => !gone(record));
  }
}

async function take([kind, id, principal]: Step, now: number, backend: InMemoryBackend, told: Told): Promise<void> {
  const known = told.find(id);
  const version = known?.version ?? 1;
  if (kind === 'create') {
    const record = recordOf(id, principal, 1, now);
    expect(await backend.create(record)).toBe(!known);
    if (!known) told.toEnd(record);
  } else if (kind === 'update') {
    const record = recordOf(id, principal, version + 1, now);
    expect(await backend.update(record, version)).toBe(known ? 'updated' : 'gone');
    if (known) told.toEnd(record);
  } else if (kind === 'touch') {
    expect(await backend.touch(id, now, 1e6)).toBe(known !== undefined);
    if (known) told.toEnd({ ...known, lastSeenAt: now });
  } else if (kind === 'delete') {
    expect(await backend.delete(id)).toBe(known !== undefined);
    told.remove(record => record.id === id);
  } else if (principal !== undefined) {
    const gone = (record: SessionRecord) => record.principal === principal && record.id !== id;
    expect((await backend.deleteByPrincipal(principal, id)).sort()).toEqual(
      told.kept
        .filter(gone)
        .map(record => record.id)
        .sort(),
    );
    told.remove(gone);
  }
}

const histories = rounds(500);
test(`${histories} generated histories: the least recently seen record is dropped, and the index of principals is correct`, async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 5, maxLength: 60 }), async steps => {
      const backend = new InMemoryBackend({ maxSessions: MAX_SESSIONS });
      const told = new Told();
      for (const [now, one] of steps.entries()) {
        await take(one, now + 1, backend, told);
        expect(backend.size).toBe(told.kept.length);
        for (const id of IDS) expect(await backend.read(id)).toEqual(told.find(id));
        for (const name of ['ada', 'bob']) {
          const ids = (await backend.listByPrincipal(name)).map(({ id }) => id).sort();
          expect(ids).toEqual(
            told.kept
              .filter(record => record.principal === name)
              .map(({ id }) => id)
              .sort(),
          );
        }
      }
    }),
    { seed, numRuns: histories },
  );
});

describe('a user with many sessions', () => {
  it('is logged out at one instant, though the sessions are removed in batches between requests', async () => {
    const backend = new InMemoryBackend();
    const records = Array.from({ length: 3_500 }, (_, n) => recordOf(`${n}`, 'ada', 1, n));
    for (const each of records) await backend.create(each);
    const batches: number[] = [];
    const revoking = backend.deleteByPrincipal('ada', '7', ids => batches.push(ids.length));
    expect(backend.size).toBe(2_500);
    const found = await Promise.all(records.map(({ id }) => backend.read(id)));
    expect(found.filter(Boolean)).toEqual([records[7]]);
    expect(await backend.touch('0', 9e5, 1e6)).toBe(false);
    expect(await backend.update(records[0]!, 1)).toBe('gone');
    expect(await backend.delete('0')).toBe(false);
    // A log-in that comes meanwhile counts as later, and a second revocation has nothing left but that.
    expect(await backend.create(recordOf('late', 'ada', 1, 0))).toBe(true);
    expect(await backend.deleteByPrincipal('ada', '7')).toEqual(['late']);
    expect(new Set(await revoking)).toEqual(new Set(records.map(({ id }) => id).filter(id => id !== '7')));
    expect(batches).toEqual([1_000, 1_000, 1_000, 499]);
    expect(backend.size).toBe(1);
    expect((await backend.listByPrincipal('ada')).map(({ id }) => id)).toEqual(['7']);
  });
});

describe('a full backend', () => {
  const ACTIVE = 500;

  /** 500 users of different addresses, who are seen in turns while log-ins flood in. Returns how many of them are left. */
  async function flooded(
    count: number,
    loggedIn: (n: number) => Partial<SessionRecord>,
    { maxSessions = ACTIVE + 100, ip = (n: number): string | undefined => `10.1.${n >> 8}.${n & 255}` } = {},
  ): Promise<{ left: number; size: number; dropped: string[] }> {
    const backend = new InMemoryBackend({ maxSessions });
    const dropped: string[] = [];
    const add = (id: string, now: number, change: Partial<SessionRecord>) => {
      const record = { ...recordOf(id, undefined, 1, now), createdAt: now, ...change };
      backend[AT_ONCE].writes!()!.create(record, undefined, ({ id: name }) => dropped.push(name));
    };
    for (let n = 0; n < ACTIVE; n++) {
      const address = ip(n);
      add(`active ${n}`, n, { principal: `user ${n}`, ...(address !== undefined && { ip: address }) });
    }
    for (let n = 0; n < count; n++) {
      add(`flood ${n}`, ACTIVE + n, loggedIn(n));
      if (n % 7 === 0) await backend.touch(`active ${(n / 7) % ACTIVE}`, ACTIVE + n, 1e6);
    }
    const found = await Promise.all(Array.from({ length: ACTIVE }, (_, n) => backend.read(`active ${n}`)));
    return { left: found.filter(Boolean).length, size: backend.size, dropped };
  }

  const anyAddress = (n: number) => ({ ip: `10.2.${(n >> 8) & 255}.${n & 255}` });

  it.each<[string, (n: number) => Partial<SessionRecord>]>([
    ['one account', () => ({ principal: 'eve', ip: '10.9.9.9' })],
    ['one account, from many addresses', n => ({ principal: 'eve', ...anyAddress(n) })],
    ['many accounts, from one address', n => ({ principal: `eve ${n}`, ip: '10.9.9.9' })],
    ['some accounts with ten sessions each, from one address', n => ({ principal: `eve ${n % 400}`, ip: '10.9.9.9' })],
    ['sessions that are nobody’s', () => ({})],
  ])('gives up none of 500 users in use for a flood of 5,000 log-ins of %s', async (_, loggedIn) => {
    for (const maxSessions of [ACTIVE + 12, ACTIVE + 100, 4 * ACTIVE]) {
      const { left, size, dropped } = await flooded(5_000, loggedIn, { maxSessions });
      expect({ left, size, dropped: dropped.length }).toEqual({
        left: ACTIVE,
        size: maxSessions,
        dropped: ACTIVE + 5_000 - maxSessions,
      });
    }
  });

  it('gives up none for one account either when all users have the address of a proxy, or none is kept', async () => {
    for (const ip of ['10.0.0.1', undefined]) {
      const loggedIn = () => ({ principal: 'eve', ...(ip !== undefined && { ip }) });
      expect((await flooded(5_000, loggedIn, { ip: () => ip })).left).toBe(ACTIVE);
    }
  });

  it('gives up the least recently seen when it is full of ordinary users', async () => {
    const { left, dropped } = await flooded(50, n => ({ principal: `new ${n}`, ...anyAddress(n) }), {
      maxSessions: ACTIVE + 10,
    });
    expect(left).toBe(ACTIVE - 40);
    // These two were seen since.
    expect(dropped.slice(0, 3)).toEqual(['active 2', 'active 3', 'active 4']);
    expect(dropped).toHaveLength(40);
  });

  it('gives up what has expired first, and does not say so', () => {
    const backend = new InMemoryBackend({ maxSessions: 20 });
    const dropped: string[] = [];
    const create = (id: string, now: number, change: Partial<SessionRecord>) =>
      backend[AT_ONCE].writes!()!.create(
        { ...recordOf(id, 'ada', 1, now), createdAt: now, ...change },
        undefined,
        ({ id: name }) => dropped.push(name),
      );
    for (let n = 0; n < 5; n++) create(`over ${n}`, 1, { principal: `user ${n}`, expiresAt: 10 });
    for (let n = 0; n < 20; n++) create(`${n}`, 10 + n, {});
    expect(dropped).toEqual([]);
    create('20', 40, {});
    expect(dropped).toEqual(['0']);
  });

  it('lets the flooded user keep the session that is in use', async () => {
    const backend = new InMemoryBackend({ maxSessions: 100 });
    await backend.create(recordOf('in use', 'ada', 1, 0));
    for (let n = 1; n < 1_000; n++) {
      await backend.create({ ...recordOf(`flood ${n}`, 'ada', 1, n), createdAt: n });
      await backend.touch('in use', n, 1e6);
    }
    expect(await backend.read('in use')).toBeDefined();
  });
});

test(`the largest of many groups is found at all times: ${rounds(300)} generated histories`, () => {
  fc.assert(
    fc.property(fc.array(fc.tuple(fc.nat(4), fc.integer({ min: -3, max: 6 })), { maxLength: 80 }), steps => {
      const groups = Array.from({ length: 5 }, () => ({ size: 0 }));
      const largest = new Largest<{ size: number }>();
      for (const [which, by] of steps) {
        const group = groups[which]!;
        for (let n = 0; n < Math.abs(by); n++) {
          if (group.size + Math.sign(by) < 0) break;
          group.size += Math.sign(by);
          largest.resized(group, group.size - Math.sign(by));
        }
        const most = Math.max(...groups.map(({ size }) => size));
        expect(largest.group?.size).toBe(most > ORDINARY ? most : undefined);
      }
    }),
    { seed, numRuns: rounds(300) },
  );
});

test('a watch counts nothing as known while the sessions of a revocation are over and not told', async () => {
  const backend = new InMemoryBackend();
  const ids = Array.from({ length: 2_500 }, (_, n) => `s${n}`);
  for (const id of ids) await backend.create(sessionRecord({ id, principal: 'ada' }));
  const told = new Set<string>();
  const watch = backend.watch(news => news.is === 'changed' && told.add(news.id));
  const begun = performance.now();
  const ending = backend.deleteByPrincipal('ada');
  let looks = 0;
  while (told.size < ids.length) {
    expect(await backend.read('s0')).toBeUndefined();
    if (watch.knownUntil() > begun + 1) expect(told.size).toBe(ids.length);
    looks++;
    await new Promise(setImmediate);
  }
  await ending;
  expect(looks).toBeGreaterThan(1);
  expect(watch.knownUntil()).toBeGreaterThan(begun);
});

describe('while sessions are seen and ended between the slices of a sweep', () => {
  const COUNT = 600;

  /** Fills a backend with sessions of which every second one has expired at 10. */
  async function halfExpired(): Promise<InMemoryBackend> {
    const backend = new InMemoryBackend();
    for (let n = 0; n < COUNT; n++)
      await backend.create({ ...recordOf(`${n}`, `user ${n % 400}`, 1, 1), expiresAt: n % 2 ? 10 : 1e6 });
    return backend;
  }

  it('goes on behind a record that is removed just when it is next', async () => {
    const backend = await halfExpired();
    const sweep = backend.deleteExpired(10);
    // One after the other, so that each is the next one in its turn, wherever the sweep stands.
    for (let n = 0; n < COUNT / 2; n++) await backend.delete(`${n}`);
    expect(await sweep).toBeGreaterThanOrEqual(COUNT / 4);
    expect(backend.size).toBe(COUNT / 4);
  });

  it('finds each that has expired, though all others are seen and so move to the end', async () => {
    const backend = await halfExpired();
    const state = { isOver: false };
    const sweep = backend.deleteExpired(10).finally(() => (state.isOver = true));
    for (let now = 2; !state.isOver; now++) {
      for (let n = 0; n < COUNT; n += 2) expect(await backend.touch(`${n}`, now, 1e6)).toBe(true);
      await new Promise(setImmediate);
    }
    expect(await sweep).toBe(COUNT / 2);
    expect(backend.size).toBe(COUNT / 2);
  });
});
