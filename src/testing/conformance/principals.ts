import assert from 'node:assert/strict';
import type { SessionRecord } from '../../core/record.js';
import { inParallel, inTurn, type Sections } from './case.js';
import {
  anonymous,
  assertAbsent,
  assertListed,
  assertStored,
  create,
  HOUR,
  MINUTE,
  newRecord,
  rotated,
  START,
  endAll,
} from './records.js';

export const principals: Sections = {
  listByPrincipal: {
    'has all records of that principal, complete, and no others': async ({ backend }) => {
      const ada = [
        await create(backend, { principal: 'ada', ip: '192.0.2.1' }),
        await create(backend, { principal: 'ada' }),
      ];
      await create(backend, { principal: 'adam' });
      await create(backend);
      const listed = Array.from(await backend.listByPrincipal('ada'), record => ({ ...record }));
      const byId = (a: { id: string }, b: { id: string }): number => (a.id < b.id ? -1 : 1);
      assert.deepEqual(listed.sort(byId), ada.sort(byId));
    },
    'of an unknown principal is empty': ({ backend }) => assertListed(backend, 'nobody', []),
    'follows an update that gives, changes or takes away the principal': async ({ backend }) => {
      const record = await create(backend);
      await backend.update({ ...record, principal: 'ada' }, 1);
      await assertListed(backend, 'ada', [record.id]);
      await backend.update({ ...record, principal: 'bob' }, 2);
      await assertListed(backend, 'ada', []);
      await assertListed(backend, 'bob', [record.id]);
      await backend.update(record, 3);
      await assertListed(backend, 'bob', []);
      await assertStored(backend, { ...record, version: 4 });
    },
    'follows a rotation that gives, changes or takes away the principal': async ({ backend }) => {
      const nobodys = await create(backend);
      const ada = rotated(nobodys, { principal: 'ada' });
      await backend.update(ada, 1);
      await assertListed(backend, 'ada', [ada.id]);
      const bob = rotated(ada, { principal: 'bob' });
      await backend.update(bob, 2);
      await assertListed(backend, 'ada', []);
      await assertListed(backend, 'bob', [bob.id]);
      const nobody = rotated(anonymous(bob));
      await backend.update(nobody, 3);
      await assertListed(backend, 'bob', []);
      await assertStored(backend, { ...nobody, version: 4 });
    },
    'follows a session to another principal and back, which a revocation then ends': async ({ backend }) => {
      const record = await create(backend, { principal: 'ada' });
      await backend.update({ ...record, principal: 'bob' }, 1);
      assert.deepEqual(await endAll(backend, 'ada'), []);
      await backend.update(record, 2);
      await assertListed(backend, 'bob', []);
      await assertListed(backend, 'ada', [record.id]);
      assert.deepEqual(await endAll(backend, 'bob'), []);
      assert.deepEqual(await endAll(backend, 'ada'), [record.id]);
      await assertAbsent(backend, record.id);
    },
    'forgets a deleted record': async ({ backend }) => {
      const [record, other] = [
        await create(backend, { principal: 'ada' }),
        await create(backend, { principal: 'ada' }),
      ];
      await backend.delete(record.id);
      await assertListed(backend, 'ada', [other.id]);
    },
    'keeps a record that lives on by being touched': async ({ backend }) => {
      const record = await create(backend, { principal: 'ada' });
      for (let n = 1; n <= 3; n++) await backend.touch(record.id, START + n * HOUR, START + (n + 1) * HOUR);
      await assertListed(backend, 'ada', [record.id]);
    },
    'with a limit it has the latest log-ins, the latest first, whatever was used since': async ({
      backend,
      handles,
      random,
    }) => {
      const made = random.shuffle(Array.from({ length: 60 }, (_, n) => START - n * MINUTE));
      const records: SessionRecord[] = [];
      for (const createdAt of made)
        records.push(
          await create(backend, { principal: 'ada', createdAt, expiresAt: START + HOUR + random.integer(9) }),
        );
      const [oldest] = records.toSorted((a, b) => a.createdAt - b.createdAt);
      assert.ok(oldest);
      await backend.touch(oldest.id, START + MINUTE, START + 2 * HOUR);
      await create(backend, { principal: 'adam', createdAt: START + 1 });
      const newest = records.toSorted((a, b) => b.createdAt - a.createdAt).map(({ id }) => id);
      for (const [n, limit] of [1, 7, 59, 60, 61, 1000].entries()) {
        const listed = await inTurn(handles, n).listByPrincipal('ada', limit);
        assert.deepEqual(
          Array.from(listed, ({ id }) => id),
          newest.slice(0, limit),
          `the ${limit} latest`,
        );
      }
    },
    'with a limit it follows log-ins, endings, and sessions that come from another principal': async ({ backend }) => {
      const latest = async (): Promise<string[]> => Array.from(await backend.listByPrincipal('ada', 2), ({ id }) => id);
      const first = await create(backend, { principal: 'ada', createdAt: START - 9 * MINUTE });
      const second = await create(backend, { principal: 'ada', createdAt: START - 8 * MINUTE });
      const other = await create(backend, { principal: 'bob', createdAt: START - 7 * MINUTE });
      assert.deepEqual(await latest(), [second.id, first.id]);
      await backend.update({ ...other, principal: 'ada' }, 1);
      assert.deepEqual(await latest(), [other.id, second.id]);
      await backend.delete(second.id);
      assert.deepEqual(await latest(), [other.id, first.id]);
      await backend.update({ ...first, createdAt: START - MINUTE }, 1);
      assert.deepEqual(await latest(), [first.id, other.id]);
      await backend.update({ ...first, principal: 'bob' }, 2);
      assert.deepEqual(await latest(), [other.id]);
    },
  },
  deleteByPrincipal: {
    'ends all records of that principal, names them, and leaves everybody else alone': async ({ backend }) => {
      const ada = [await create(backend, { principal: 'ada' }), await create(backend, { principal: 'ada' })];
      const others = [await create(backend, { principal: 'adam' }), await create(backend)];
      const ended = await endAll(backend, 'ada');
      assert.deepEqual([...ended].sort(), ada.map(({ id }) => id).sort());
      for (const { id } of ada) await assertAbsent(backend, id);
      await assertListed(backend, 'ada', []);
      for (const other of others) await assertStored(backend, other);
      await assertListed(backend, 'adam', [others[0]?.id ?? '']);
    },
    'a second time, and for an unknown principal, it ends nothing': async ({ backend }) => {
      await create(backend, { principal: 'ada' });
      await backend.deleteByPrincipal('ada');
      assert.deepEqual(await endAll(backend, 'ada'), []);
      assert.deepEqual(await endAll(backend, 'nobody'), []);
    },
    'spares exceptId and names only those that it ended': async ({ backend }) => {
      const [kept, ended] = [await create(backend, { principal: 'ada' }), await create(backend, { principal: 'ada' })];
      assert.deepEqual(await endAll(backend, 'ada', kept.id), [ended.id]);
      await assertStored(backend, kept);
      await assertListed(backend, 'ada', [kept.id]);
      assert.deepEqual(await endAll(backend, 'ada', kept.id), []);
      assert.deepEqual(await endAll(backend, 'ada'), [kept.id]);
    },
    'an exceptId that is unknown, or another principal’s, spares nothing and touches nothing': async ({ backend }) => {
      const [ada, bob] = [await create(backend, { principal: 'ada' }), await create(backend, { principal: 'bob' })];
      assert.deepEqual(await endAll(backend, 'ada', bob.id), [ada.id]);
      await assertStored(backend, bob);
      assert.deepEqual(await endAll(backend, 'bob', 'unknown'), [bob.id]);
    },
    'ends what a rotation, an update or a touch has just made of a record': async ({ backend }) => {
      const records = [await create(backend, { principal: 'ada' }), await create(backend, { principal: 'ada' })];
      const [first, second] = records;
      assert.ok(first && second);
      await backend.update(rotated(first), 1);
      await backend.update({ ...second, data: '{"n":1}' }, 1);
      await backend.touch(second.id, START + MINUTE, START + 2 * HOUR);
      const nobodys = await create(backend);
      await backend.update({ ...nobodys, principal: 'ada' }, 1);
      const ended = await endAll(backend, 'ada');
      assert.deepEqual([...ended].sort(), [first.id, second.id, nobodys.id].sort());
      for (const id of ended) await assertAbsent(backend, id);
    },
    '2,500 sessions of one principal are all listed, and go in one call: each is named once, and dead as soon as it is named':
      async ({ backend }) => {
        const records = Array.from({ length: 2500 }, (_, n) => newRecord({ principal: 'ada', createdAt: START - n }));
        await inParallel(records.length, 50, async n => {
          const record = records[n];
          assert.ok(record && (await backend.create(record)));
        });
        await assertListed(
          backend,
          'ada',
          records.map(({ id }) => id),
        );
        const latest = await backend.listByPrincipal('ada', 1500);
        assert.deepEqual(
          Array.from(latest, ({ id }) => id),
          records.slice(0, 1500).map(({ id }) => id),
          'the 1,500 latest',
        );
        const [spared] = records;
        assert.ok(spared);
        const named: string[] = [];
        const looks: Promise<void>[] = [];
        const ended = Array.from(
          await backend.deleteByPrincipal('ada', spared.id, ids => {
            named.push(...ids);
            for (const id of ids.slice(0, 2)) {
              const look = assertAbsent(backend, id, 'although it was named as ended');
              // It may fail before anybody waits for it.
              look.catch(() => undefined);
              looks.push(look);
            }
          }),
        );
        await Promise.all(looks);
        const ids = records.slice(1).map(({ id }) => id);
        assert.deepEqual(ended.sort(), ids.sort());
        // A backend need not call it, and one in another process cannot.
        if (named.length > 0) assert.deepEqual(named.sort(), ended);
        for (const id of ended.slice(0, 50)) await assertAbsent(backend, id);
        await assertStored(backend, spared);
        await assertListed(backend, 'ada', [spared.id]);
        assert.deepEqual(await endAll(backend, 'ada'), [spared.id]);
      },
    'does not end a record that another principal has taken over': async ({ backend }) => {
      const record = await create(backend, { principal: 'ada' });
      await backend.update({ ...record, principal: 'bob' }, 1);
      assert.deepEqual(await endAll(backend, 'ada'), []);
      await assertStored(backend, { ...record, principal: 'bob', version: 2 });
    },
  },
};
