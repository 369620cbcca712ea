import assert from 'node:assert/strict';
import type { SessionBackend } from '../../core/backend.js';
import type { SessionRecord } from '../../core/record.js';
import { inParallel, inTurn, nextTurn, roundsOf, type Sections } from './case.js';
import {
  assertAbsent,
  assertListed,
  assertStored,
  create,
  HOUR,
  MINUTE,
  newRecord,
  rotated,
  START,
} from './records.js';

export const expiry: Sections = {
  deleteExpired: {
    'removes what expires at the given instant or before, whatever the real time is, and answers how many': async ({
      backend,
    }) => {
      const early = await create(backend, { principal: 'ada', expiresAt: START + HOUR });
      const onTime = await create(backend, { principal: 'ada', expiresAt: START + 2 * HOUR });
      const late = await create(backend, { principal: 'ada', expiresAt: START + 2 * HOUR + 1 });
      assert.equal(await backend.deleteExpired(START + HOUR - 1), 0);
      await assertStored(backend, early);
      assert.equal(await backend.deleteExpired(START + 2 * HOUR), 2);
      for (const { id } of [early, onTime]) await assertAbsent(backend, id);
      await assertStored(backend, late);
      await assertListed(backend, 'ada', [late.id]);
      assert.equal(await backend.deleteExpired(START + 2 * HOUR), 0);
    },
    'of an empty store answers 0': async ({ backend }) => {
      assert.equal(await backend.deleteExpired(START + HOUR), 0);
    },
    'goes by the expiry that a touch, an update or a rotation has set since': async ({ backend }) => {
      const expiresAt = START + 3 * HOUR;
      const touched = await create(backend);
      await backend.touch(touched.id, START + MINUTE, expiresAt);
      const updated = await create(backend);
      await backend.update({ ...updated, expiresAt }, 1);
      const old = await create(backend);
      const next = rotated(old, { expiresAt });
      await backend.update(next, 1);
      const deleted = await create(backend);
      await backend.delete(deleted.id);
      const shortened = await create(backend, { expiresAt });
      await backend.update({ ...shortened, expiresAt: START + HOUR }, 1);

      assert.equal(await backend.deleteExpired(START + 2 * HOUR), 1);
      await assertAbsent(backend, shortened.id);
      await assertStored(backend, { ...touched, lastSeenAt: START + MINUTE, expiresAt });
      await assertStored(backend, { ...updated, expiresAt, version: 2 });
      await assertStored(backend, { ...next, version: 2 });
    },
    '2,500 expired records go, in one call but in batches, and the 50 that live stay': async ({ backend }) => {
      const living = Array.from({ length: 50 }, () => newRecord({ principal: 'living', expiresAt: START + 9 * HOUR }));
      const dead = Array.from({ length: 2500 }, (_, n) =>
        newRecord({ principal: `user-${n % 50}`, expiresAt: START + HOUR + (n % 7) }),
      );
      const all = dead.flatMap((record, n) =>
        n % 50 === 0 ? [record, ...living.slice(n / 50, n / 50 + 1)] : [record],
      );
      await inParallel(all.length, 50, async n => {
        const record = all[n];
        assert.ok(record && (await backend.create(record)));
      });
      const seen = await countsDuring(backend, dead, backend.deleteExpired(START + 2 * HOUR), 2500);
      assert.equal(await backend.deleteExpired(START + 2 * HOUR), 0);
      // A fast engine may be through with so few before anybody can look.
      if (seen < 2) await assertInBatches(backend, 20_000);
      for (let n = 0; n < 50; n++) await assertListed(backend, `user-${n}`, []);
      for (const { id } of dead.slice(0, 50)) await assertAbsent(backend, id);
      await assertListed(
        backend,
        'living',
        living.map(({ id }) => id),
      );
    },
    'run twice at once it counts no record twice and misses none': async ({ backend, handles }) => {
      await inParallel(500, 50, async () => {
        await create(backend, { expiresAt: START + HOUR });
      });
      const counts = await Promise.all([0, 1, 2].map(n => inTurn(handles, n).deleteExpired(START + 2 * HOUR)));
      // A record that another run has locked may be left to that run, so that only the total is fixed once all have finished.
      counts.push(await backend.deleteExpired(START + 2 * HOUR));
      assert.equal(
        counts.reduce((sum, count) => sum + count, 0),
        500,
      );
    },
    'racing touches that prolong it ends no session that was told it lives on': async ({ backend, handles, races }) => {
      // Of ten sessions each.
      for (let round = 0; round < roundsOf({ races }) / 10; round++) {
        const records = await Promise.all(Array.from({ length: 10 }, () => create(backend, { principal: 'ada' })));
        const sweeping = inTurn(handles, round).deleteExpired(START + HOUR);
        const touched = await Promise.all(
          records.map(({ id }, n) => inTurn(handles, round + n).touch(id, START + MINUTE, START + 2 * HOUR)),
        );
        const swept = await sweeping;
        assert.equal(
          swept,
          touched.filter(alive => !alive).length,
          'swept and touched together are all records, none twice',
        );
        const alive = records.filter((_, n) => touched[n]).map(({ id }) => id);
        await assertListed(backend, 'ada', alive);
        await backend.deleteByPrincipal('ada');
      }
    },
  },
  'a record that has expired': {
    'may be forgotten, but what is still there is whole, can be ended, and blocks nothing': async ({ backend }) => {
      const record = await create(backend, {
        principal: 'ada',
        createdAt: START - 3 * HOUR,
        authenticatedAt: START - 3 * HOUR,
        lastSeenAt: START - 2 * HOUR,
        expiresAt: START - HOUR,
      });
      const stored = await backend.read(record.id);
      if (stored) assert.deepEqual({ ...stored }, record);
      for (const listed of await backend.listByPrincipal('ada')) assert.deepEqual({ ...listed }, record);
      await backend.deleteByPrincipal('ada');
      await assertAbsent(backend, record.id);
      await assertListed(backend, 'ada', []);
      assert.equal(await backend.deleteExpired(START), 0);
    },
  },
};

/** Asserts that others see a sweep on its way. */
async function assertInBatches(backend: SessionBackend, count: number): Promise<void> {
  const records = Array.from({ length: count }, (_, n) => newRecord({ expiresAt: START - count + n }));
  await inParallel(count, 50, async n => {
    const record = records[n];
    assert.ok(record && (await backend.create(record)));
  });
  const seen = await countsDuring(backend, records, backend.deleteExpired(START), count);
  assert.ok(seen > 1, `${count} expired records went at once; remove some at a time, and let requests in between`);
}

/**
 * Looks at some of the records again and again while a sweep removes them all. Returns how many different states between all
 * and nothing it saw. A sweep in one step can show one: to a look that began before it, and ended after it.
 */
async function countsDuring(
  backend: SessionBackend,
  records: readonly SessionRecord[],
  sweep: Promise<number>,
  expected: number,
): Promise<number> {
  const sample = records.filter((_, n) => n % (records.length / 20) === 0);
  const seen = new Set<number>();
  const over = sweep.then(() => true);
  const goesOn = async (): Promise<boolean> => !(await Promise.race([over, nextTurn()]));
  while (await goesOn()) {
    const found = await Promise.all(sample.map(({ id }) => backend.read(id)));
    const left = found.filter(record => record !== undefined).length;
    if (left > 0 && left < sample.length) seen.add(left);
  }
  assert.equal(await sweep, expected);
  return seen.size;
}
