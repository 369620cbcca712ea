import assert from 'node:assert/strict';
import type { SessionBackend } from '../../core/backend.js';
import { MOST_EVICTED, type SessionLimit } from '../../core/limit.js';
import type { SessionRecord } from '../../core/record.js';
import { inTurn, nextTurn, type Bench, type Sections } from './case.js';
import { ifWatched, watching } from './news.js';
import {
  assertAbsent,
  assertListed,
  assertStored,
  create,
  endAll,
  HOUR,
  idsOf,
  MINUTE,
  newPrincipal,
  newRecord,
  START,
} from './records.js';

const POLICIES = ['evict', 'refuse'] as const;

/** The number of log-ins of one user at once. */
const AT_ONCE = 60;

/** Its times are earlier than those of every record of the suite. */
const ALL_LIVE: SessionLimit['livesAfter'] = {
  expiresAt: START,
  createdAt: START - 24 * HOUR,
  lastSeenAt: START - 24 * HOUR,
};

type Terms = Partial<SessionLimit> & Pick<SessionLimit, 'most'>;

/** A log-in under a limit, and its outcome. */
interface LogIn {
  record: SessionRecord;
  isStored: boolean;
  /** What the backend told; `undefined`: nothing. */
  decision: readonly string[] | 'full' | undefined;
}

async function logIn(backend: SessionBackend, record: SessionRecord, terms: Terms): Promise<LogIn> {
  const told: LogIn['decision'][] = [];
  const onDecided = (decision: LogIn['decision'] & {}): void => {
    // An array of the suite's own realm.
    told.push(decision === 'full' ? decision : Array.from(decision));
  };
  const isStored = await backend.create(record, {
    whenFull: 'evict',
    except: [],
    livesAfter: ALL_LIVE,
    ...terms,
    onDecided,
  });
  assert.ok(told.length <= 1, `onDecided was called ${told.length} times`);
  return { record, isStored, decision: told[0] };
}

/** Asserts that a log-in was stored, and that exactly these sessions were ended for it. */
async function assertMade(made: LogIn, ended: readonly string[], backend: SessionBackend): Promise<void> {
  assert.deepEqual({ isStored: made.isStored, ended: sorted(made.decision) }, { isStored: true, ended: sorted(ended) });
  await assertStored(backend, made.record);
  for (const id of ended) await assertAbsent(backend, id, 'although it was ended for a log-in');
}

async function assertRefused({ record, isStored, decision }: LogIn, backend: SessionBackend): Promise<void> {
  assert.deepEqual({ isStored, decision }, { isStored: false, decision: 'full' });
  await assertAbsent(backend, record.id, 'although it was refused');
}

function sorted(decision: LogIn['decision']): unknown {
  return typeof decision === 'object' ? [...decision].sort() : decision;
}

/** Leaves a case out for a backend that leaves limits to the library. */
function ifDecided(check: (bench: Bench) => Promise<void>): (bench: Bench) => Promise<void> {
  return async bench => {
    const { decision } = await logIn(bench.backend, newRecord({ principal: newPrincipal() }), { most: 1 });
    if (decision !== undefined) await check(bench);
  };
}

/** Returns so many sessions of one user, the least recently seen first. Their log-ins were in another order. */
function sessionsOf(principal: string, count: number): SessionRecord[] {
  return Array.from({ length: count }, (_, n) =>
    newRecord({ principal, createdAt: START - HOUR + ((n * 7) % count), lastSeenAt: START - MINUTE + n }),
  );
}

async function store(backend: SessionBackend, records: readonly SessionRecord[]): Promise<string[]> {
  for (const record of records) assert.equal(await backend.create(record), true);
  return records.map(({ id }) => id);
}

export const limits: Sections = {
  'create with a limit': {
    'stores while there is room, and tells that none had to go': ifDecided(async ({ backend, handles }) => {
      for (const whenFull of POLICIES) {
        const principal = newPrincipal();
        const terms: Terms = { most: 3, whenFull };
        for (let n = 0; n < 3; n++)
          await assertMade(await logIn(inTurn(handles, n), newRecord({ principal }), terms), [], backend);
        assert.equal((await idsOf(backend, principal)).length, 3);
      }
    }),
    'ends the session that was seen least recently, however late its log-in was, and names it': ifDecided(
      async ({ backend, handles }) => {
        const principal = newPrincipal();
        const [first = '', second = '', third = ''] = await store(backend, sessionsOf(principal, 3));
        assert.equal(await backend.touch(first, START, START + HOUR), true);
        const made = await logIn(inTurn(handles, 1), newRecord({ principal }), { most: 3 });
        await assertMade(made, [second], backend);
        await assertListed(backend, principal, [first, third, made.record.id]);
      },
    ),
    'of sessions that were seen at one time, ends that of the earlier log-in, and then that of the lower id': ifDecided(
      async ({ backend }) => {
        const principal = newPrincipal();
        const ids = ['c', 'b', 'd', 'a'].map(letter => `${letter}${newPrincipal()}`);
        for (const [n, id] of ids.entries())
          await create(backend, { id, principal, createdAt: START - (n < 2 ? HOUR : MINUTE) });
        const [c = '', b = '', d = '', a = ''] = ids;
        for (const [n, ended] of [b, c, a, d].entries()) {
          const record = newRecord({ principal, lastSeenAt: START + 1 + n });
          await assertMade(await logIn(backend, record, { most: 4 }), [ended], backend);
        }
      },
    ),
    'refuses one that does not fit: nothing is stored, and nothing ended': ifDecided(async ({ backend, handles }) => {
      const principal = newPrincipal();
      const sessions = sessionsOf(principal, 3);
      await store(backend, sessions);
      for (const most of [1, 3]) {
        const made = await logIn(inTurn(handles, most), newRecord({ principal }), { most, whenFull: 'refuse' });
        await assertRefused(made, backend);
      }
      for (const session of sessions) await assertStored(backend, session);
      await assertListed(
        backend,
        principal,
        sessions.map(({ id }) => id),
      );
      await assertMade(await logIn(backend, newRecord({ principal }), { most: 4, whenFull: 'refuse' }), [], backend);
    }),
    'does not count a session that is over by any of its three times, and does not end it': ifDecided(
      async ({ backend }) => {
        const livesAfter = { expiresAt: START + HOUR, createdAt: START - HOUR, lastSeenAt: START - MINUTE };
        const alive = { expiresAt: START + HOUR + 1, createdAt: START - HOUR + 1, lastSeenAt: START - MINUTE + 1 };
        for (const whenFull of POLICIES) {
          const principal = newPrincipal();
          const over = [
            newRecord({ ...alive, principal, expiresAt: livesAfter.expiresAt }),
            newRecord({ ...alive, principal, createdAt: livesAfter.createdAt }),
            newRecord({ ...alive, principal, lastSeenAt: livesAfter.lastSeenAt }),
          ];
          await store(backend, over);
          const terms: Terms = { most: 1, whenFull, livesAfter };
          const made = await logIn(backend, newRecord({ ...alive, principal }), terms);
          await assertMade(made, [], backend);
          for (const session of over) await assertStored(backend, session);
          const next = await logIn(backend, newRecord({ ...alive, principal }), terms);
          if (whenFull === 'evict') await assertMade(next, [made.record.id], backend);
          else await assertRefused(next, backend);
        }
      },
    ),
    'does not count a session that is excepted, and does not end it': ifDecided(async ({ backend }) => {
      for (const whenFull of POLICIES) {
        const principal = newPrincipal();
        const [first = '', second = '', third = ''] = await store(backend, sessionsOf(principal, 3));
        const except = [first, third, 'an id that nobody has'];
        const made = await logIn(backend, newRecord({ principal }), { most: 2, whenFull, except });
        await assertMade(made, [], backend);
        const next = await logIn(backend, newRecord({ principal }), { most: 2, whenFull, except });
        if (whenFull === 'evict') await assertMade(next, [second], backend);
        else await assertRefused(next, backend);
        for (const id of [first, third]) assert.ok(await backend.read(id), 'an excepted session was ended');
      }
    }),
    'of an id that is taken it answers false, tells nothing, and ends nothing': ifDecided(
      async ({ backend, handles }) => {
        for (const whenFull of POLICIES) {
          const principal = newPrincipal();
          const sessions = sessionsOf(principal, 3);
          await store(backend, sessions);
          const elsewhere = await create(backend, { principal: newPrincipal() });
          for (const { id } of [sessions[0] ?? elsewhere, elsewhere])
            for (const [n, most] of [2, 3, 9].entries()) {
              const made = await logIn(inTurn(handles, n), newRecord({ id, principal }), { most, whenFull });
              assert.deepEqual([made.isStored, made.decision], [false, undefined]);
            }
          for (const session of [...sessions, elsewhere]) await assertStored(backend, session);
        }
      },
    ),
    [`ends at most ${MOST_EVICTED} for one log-in, those that were seen least recently, and the others for the next ones`]:
      ifDecided(async ({ backend }) => {
        const principal = newPrincipal();
        const ids = await store(backend, sessionsOf(principal, MOST_EVICTED + 1));
        const made = await logIn(backend, newRecord({ principal }), { most: 1 });
        await assertMade(made, ids.slice(0, MOST_EVICTED), backend);
        await assertListed(backend, principal, [...ids.slice(MOST_EVICTED), made.record.id]);
        const next = await logIn(backend, newRecord({ principal }), { most: 1 });
        await assertMade(next, [...ids.slice(MOST_EVICTED), made.record.id], backend);
        const many = newPrincipal();
        await store(backend, sessionsOf(many, 3 * MOST_EVICTED));
        const { decision } = await logIn(backend, newRecord({ principal: many }), { most: MOST_EVICTED });
        assert.equal(new Set(decision).size, MOST_EVICTED);
        assert.equal((await idsOf(backend, many)).length, 2 * MOST_EVICTED + 1);
      }),
    'leaves the sessions of others, and those that are nobody’s': ifDecided(async ({ backend }) => {
      const others = [newRecord({ principal: 'adam' }), newRecord({ principal: 'Ada' }), newRecord()];
      await store(backend, others);
      for (let n = 0; n < 3; n++) {
        const made = await logIn(backend, newRecord({ principal: 'ada' }), { most: 1, whenFull: 'refuse' });
        if (n === 0) await assertMade(made, [], backend);
        else await assertRefused(made, backend);
      }
      assert.equal((await logIn(backend, newRecord({ principal: 'ada' }), { most: 1 })).decision?.length, 1);
      for (const other of others) await assertStored(backend, other);
    }),
    'sees what another handle has done before: 50 log-outs and log-ins, none refused, and one more always': ifDecided(
      async ({ backend, handles }) => {
        const principal = newPrincipal();
        const terms: Terms = { most: 2, whenFull: 'refuse' };
        await create(backend, { principal });
        for (let round = 0; round < 50; round++) {
          const made = await logIn(inTurn(handles, round), newRecord({ principal }), terms);
          await assertMade(made, [], backend);
          await assertRefused(await logIn(inTurn(handles, round + 1), newRecord({ principal }), terms), backend);
          assert.equal(await inTurn(handles, round + 1).delete(made.record.id), true);
        }
      },
    ),
    ...Object.fromEntries(
      [1, 5].flatMap(most =>
        POLICIES.map(whenFull => [
          `${AT_ONCE} at once, limit ${most}, ${whenFull}: as many are left, never more at any look, and none is wrongly ${whenFull === 'evict' ? 'ended' : 'refused'}`,
          ifDecided(bench => race(bench, { most, whenFull })),
        ]),
      ),
    ),
    [`${AT_ONCE} at once under a limit of as many: all are stored, and none is ended`]: ifDecided(
      async ({ handles }) => {
        for (const whenFull of POLICIES) {
          const principal = newPrincipal();
          const made = await Promise.all(
            Array.from({ length: AT_ONCE }, (_, n) =>
              logIn(inTurn(handles, n), newRecord({ principal }), { most: AT_ONCE, whenFull }),
            ),
          );
          assert.deepEqual(
            made.filter(({ isStored, decision }) => !isStored || decision?.length !== 0),
            [],
          );
        }
      },
    ),
    'racing a revocation, leaves nothing that is older, and no more than the limit: 30 rounds': ifDecided(
      async ({ backend, handles, random }) => {
        for (let round = 0; round < 30; round++) {
          const principal = newPrincipal();
          const older = await store(backend, sessionsOf(principal, 3));
          const start = (): Promise<unknown> => logIn(random.pick(handles), newRecord({ principal }), { most: 3 });
          const revoke = (): Promise<unknown> => endAll(random.pick(handles), principal);
          await Promise.all(random.shuffle([revoke, ...Array.from({ length: 6 }, () => start)]).map(run => run()));
          for (const id of older) await assertAbsent(backend, id, `although it was ended (seed ${random.seed})`);
          const left = await idsOf(backend, principal);
          assert.ok(left.length <= 3, `${left.length} of 3 sessions (seed ${random.seed})`);
        }
      },
    ),
    'is news for those that it ends: 20 rounds': ifDecided(
      ifWatched(async ({ backend, handles }) =>
        watching(backend, async reader => {
          for (let round = 0; round < 20; round++) {
            const principal = newPrincipal();
            const [first = ''] = await store(backend, sessionsOf(principal, 3));
            reader.forget();
            await logIn(inTurn(handles, round), newRecord({ principal }), { most: 3 });
            await reader.assertTold(first, 'a session that was ended for a log-in');
          }
        }),
      ),
    ),
  },
};

/** Logs a user in on all handles at once, while others look. */
async function race({ backend, handles }: Bench, terms: Terms & Pick<SessionLimit, 'whenFull'>): Promise<void> {
  const { most, whenFull } = terms;
  const principal = newPrincipal();
  let isOver = false;
  const look = async (reader: SessionBackend): Promise<void> => {
    while (!isOver) {
      const { length } = await idsOf(reader, principal);
      assert.ok(length <= most, `${length} sessions under a limit of ${most}`);
      await nextTurn();
    }
  };
  const logIns = Promise.all(
    Array.from({ length: AT_ONCE }, (_, n) => logIn(inTurn(handles, n), newRecord({ principal }), terms)),
  ).finally(() => (isOver = true));
  const [made] = await Promise.all([logIns, ...handles.map(look)]);
  const left = await idsOf(backend, principal);
  assert.equal(left.length, most, 'the sessions that are left');
  assert.deepEqual(
    made.filter(({ decision }) => decision === undefined),
    [],
    'log-ins of which nothing was decided',
  );
  const stored = made.filter(({ isStored }) => isStored);
  assert.equal(stored.length, whenFull === 'refuse' ? most : AT_ONCE, 'the log-ins that were stored');
  const ended = made.flatMap(({ decision = [] }) => (decision === 'full' ? [] : decision));
  // Each session is either left or named as ended, once.
  assert.deepEqual([...left, ...ended].sort(), stored.map(({ record }) => record.id).sort());
  const last = await logIn(inTurn(handles, 1), newRecord({ principal, lastSeenAt: START + 1 }), terms);
  if (whenFull === 'refuse') await assertRefused(last, backend);
  else await assertMade(last, Array.isArray(last.decision) ? last.decision : [], backend);
  assert.equal((await idsOf(backend, principal)).length, most);
}
