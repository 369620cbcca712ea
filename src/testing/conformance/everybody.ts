import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import type { SessionBackend } from '../../core/backend.js';
import { inventoryOf, type RecordHead } from '../../core/inventory.js';
import type { SessionRecord } from '../../core/record.js';
import { endsAll } from '../../core/ends-all.js';
import { bystandersOf } from './bystanders.js';
import { inParallel, inTurn, nextTurn, type Bench, type Sections } from './case.js';
import {
  assertAbsent,
  assertListed,
  assertStored,
  create,
  endAll,
  HOUR,
  MINUTE,
  newRecord,
  rotated,
  START,
} from './records.js';

/** Leaves a case out for a backend that does not implement `deleteAll`. */
function ifImplemented(check: (bench: Bench) => Promise<void>): (bench: Bench) => Promise<void> {
  return async bench => {
    if (bench.handles.every(endsAll)) await check(bench);
  };
}

export const everybody: Sections = {
  deleteAll: {
    'ends those that were made before the instant, whoever’s they are, and no others, and answers how many':
      ifImplemented(async ({ backend }) => {
        const createdAt = START - HOUR;
        const older = [
          await create(backend, { principal: 'ada', createdAt }),
          await create(backend, { principal: 'ada', createdAt: START - 1 }),
          await create(backend, { principal: 'bob', createdAt }),
          await create(backend, { createdAt }),
          await create(backend, { id: '', principal: '', createdAt }),
          await create(backend, { id: '\ud800"],1,2,[', principal: '\ud800"],9e15,1\n', createdAt }),
        ];
        const later = [
          await create(backend, { principal: 'ada' }),
          await create(backend, { principal: '"1,1,\u007f', createdAt: START + MINUTE }),
          await create(backend),
        ];
        const used = await create(backend, { principal: 'bob', createdAt });
        await backend.touch(used.id, START + MINUTE, START + 2 * HOUR);
        await backend.update({ ...used, lastSeenAt: START + MINUTE, expiresAt: START + 2 * HOUR }, 1);

        assert.equal(await backend.deleteAll(START), older.length + 1);
        for (const { id } of [...older, used]) await assertAbsent(backend, id);
        for (const record of later) await assertStored(backend, record);
        await assertListed(backend, 'ada', [later[0]?.id ?? '']);
        for (const principal of ['bob', '', older[5]?.principal ?? '']) await assertListed(backend, principal, []);
        assert.equal(await backend.deleteAll(START), 0);
      }),
    'of an empty store answers 0': ifImplemented(async ({ backend }) => {
      assert.equal(await backend.deleteAll(START), 0);
    }),
    'goes by the createdAt that an update has set since, and not by when a session was used, or expires': ifImplemented(
      async ({ backend }) => {
        const earlier = await create(backend);
        await backend.update({ ...earlier, createdAt: START - HOUR }, 1);
        const later = await create(backend, { createdAt: START - HOUR });
        await backend.update({ ...later, createdAt: START }, 1);
        const old = await create(backend, { lastSeenAt: START - HOUR, expiresAt: START + MINUTE });
        assert.equal(await backend.deleteAll(START), 1);
        await assertAbsent(backend, earlier.id);
        await assertStored(backend, { ...later, createdAt: START, version: 2 });
        await assertStored(backend, old);
      },
    ),
    '2,500 sessions of 50 users go in one call, those that began later stay, and the lists agree': ifImplemented(
      async ({ backend, random }) => {
        const older = Array.from({ length: 2500 }, (_, n) =>
          newRecord({ principal: `user-${n % 50}`, createdAt: START - 1 - n }),
        );
        const later = Array.from({ length: 50 }, (_, n) => newRecord({ principal: `user-${n}`, createdAt: START + n }));
        await createAll(backend, random.shuffle([...older, ...later]));
        assert.equal(await backend.deleteAll(START), 2500);
        for (const record of later) await assertListed(backend, record.principal ?? '', [record.id]);
        for (const { id } of older.slice(0, 100)) await assertAbsent(backend, id);
        for (const record of later) await assertStored(backend, record);
        assert.equal(await backend.deleteAll(START + 50), 50);
        for (let n = 0; n < 50; n++) await assertListed(backend, `user-${n}`, []);
      },
    ),
    'two at once count no session twice and miss none': ifImplemented(async ({ backend, handles }) => {
      const older = Array.from({ length: 500 }, () => newRecord({ createdAt: START - 1 }));
      await createAll(backend, older);
      const counts = await Promise.all([0, 1].map(n => inTurn(handles, n).deleteAll(START)));
      assert.equal(
        counts.reduce((sum, count) => sum + count, 0),
        500,
      );
      for (const { id } of older.slice(0, 100)) await assertAbsent(backend, id);
    }),
    'racing log-ins, rotations, updates, touches and endings it leaves nothing that is older, and all that is later':
      ifImplemented(async bench => {
        for (let round = 0; round < Math.max(5, bench.races / 100); round++) await raceEndOfAll(bench);
      }),
    'beside a flood of log-ins it answers, and what was there before is dead': ifImplemented(raceFlood),
  },
  'a look through the store': {
    'tells of every record whose it is, its times and its size, and neither data nor proof': async ({ backend }) => {
      const inventory = inventoryOf(backend);
      if (!inventory) return;
      const records = Array.from({ length: 1200 }, (_, n) =>
        newRecord({ ...(n % 5 > 0 && { principal: `user-${n % 50}` }), createdAt: START - n, ip: '10.0.0.1' }),
      );
      const expiring = newRecord({ createdAt: START - HOUR, lastSeenAt: START - HOUR, expiresAt: START - MINUTE });
      const large = newRecord({ id: '\ud800', principal: '\udc00\0 ', data: randomBytes(6000).toString('base64') });
      await createAll(backend, [...records, expiring, large]);
      await backend.delete(records.pop()?.id ?? '');

      const heads = new Map<string, RecordHead>();
      for await (const batch of inventory.heads()) for (const head of batch) heads.set(head.id, head);
      for (const record of [...records, large]) {
        const { bytes, ...head } = heads.get(record.id) ?? { bytes: 0 };
        const { id, principal, createdAt, lastSeenAt, expiresAt } = record;
        const known = { id, createdAt, lastSeenAt, expiresAt };
        assert.deepEqual({ ...head }, principal === undefined ? known : { ...known, principal });
        assert.ok(bytes >= record.data.length, `${bytes} bytes of a record`);
        heads.delete(record.id);
      }
      // One that has expired may be forgotten.
      heads.delete(expiring.id);
      assert.deepEqual([...heads.keys()], []);
      const whole = await inventory.bytes();
      assert.ok(whole === undefined || whole > 12_000, `${whole} bytes of a store`);
    },
  },
};

async function createAll(backend: SessionBackend, records: readonly SessionRecord[]): Promise<void> {
  await inParallel(records.length, 50, async n => {
    const record = records[n];
    assert.ok(record && (await backend.create(record)));
  });
}

/** The number of sessions that are older than a call in a race, and of users that they belong to. */
const OLDER = 60;
const USERS = 6;

/** Uses and ends sessions while `deleteAll` runs that is to end them, and makes others that it must leave. */
async function raceEndOfAll({ backend, handles, random }: Bench): Promise<void> {
  const story = `seed ${random.seed}`;
  const older = Array.from({ length: OLDER }, (_, n) =>
    newRecord({ createdAt: START - HOUR, ...(n % 7 > 0 && { principal: `user-${n % USERS}` }) }),
  );
  await createAll(backend, older);

  const later: SessionRecord[] = [];
  let endedOtherwise = 0;
  const bystanders = bystandersOf(older, handles, random);
  const login = async (): Promise<void> => {
    const record = newRecord({ principal: `user-${random.integer(USERS)}` });
    later.push(record);
    assert.equal(await random.pick(handles).create(record), true, `a log-in beside deleteAll: ${story}`);
  };
  const logout = async (): Promise<void> => {
    if (await random.pick(handles).delete(random.pick(older).id)) endedOtherwise++;
  };
  const endMany = async (): Promise<number> => {
    for (let turns = random.integer(6); turns > 0; turns--) await nextTurn();
    return random.pick(handles).deleteAll(START);
  };
  const others = random.shuffle([...bystanders, ...Array.from({ length: 10 }, () => login), logout, logout]);
  const [count] = await Promise.all([endMany(), ...others.map(start => start())]);

  assert.equal(count + endedOtherwise, OLDER, `the number of endings: ${story}`);
  for (const record of older) {
    await assertAbsent(backend, record.id, `although everybody's session was ended: ${story}`);
    assert.equal(await random.pick(handles).update(rotated(record), 1), 'gone', story);
  }
  for (const record of later) await assertStored(backend, record, `after deleteAll for what is older: ${story}`);
  for (let n = 0; n < USERS; n++) {
    const own = later.filter(({ principal }) => principal === `user-${n}`).map(({ id }) => id);
    await assertListed(backend, `user-${n}`, own);
    assert.deepEqual((await endAll(backend, `user-${n}`)).sort(), own.sort(), story);
  }
}

/** The number of log-ins at once, and the most of them in all: a correct backend answers long before. */
const FLOOD_LANES = 4;
const FLOOD_END = 30_000;

/** Repeats log-ins until `deleteAll` has answered. A count limits them, not a time. */
async function raceFlood({ backend, handles }: Bench): Promise<void> {
  const older = Array.from({ length: 1200 }, (_, n) => newRecord({ principal: `user-${n}`, createdAt: START - 1 }));
  await createAll(backend, older);
  const later: SessionRecord[] = [];
  let begun = 0;
  let isAnswered = false;
  const flood = Array.from({ length: FLOOD_LANES }, async (_, n) => {
    while (!isAnswered && begun++ < FLOOD_END) {
      const record = newRecord({ principal: `user-${begun}` });
      assert.ok(await inTurn(handles, n).create(record));
      later.push(record);
      await nextTurn();
    }
  });
  const count = await backend.deleteAll(START);
  assert.ok(begun < FLOOD_END, `deleteAll had not answered after ${FLOOD_END} log-ins`);
  isAnswered = true;
  await Promise.all(flood);
  assert.equal(count, older.length);
  for (const { id } of older.slice(0, 100)) await assertAbsent(backend, id, 'although it was there before the call');
  for (const record of later.slice(0, 100)) await assertStored(backend, record, 'after deleteAll for what is older');
}
