import assert from 'node:assert/strict';
import { inTurn, roundsOf, type Sections } from './case.js';
import { assertNoneDenied, storeOneForEach } from './failures.js';
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
  endAll,
} from './records.js';

export const handles: Sections = {
  'several handles on one store': {
    'what one was told is done, each other sees at once': async ({ handles, races }) => {
      for (let round = 0; round < roundsOf({ races }); round++) {
        const [writer, reader] = [inTurn(handles, round), inTurn(handles, round + 1)];
        const record = newRecord({ principal: 'ada' });
        await assertAbsent(reader, record.id);
        await writer.create(record);
        await assertStored(reader, record, 'after create');
        await writer.update({ ...record, data: '{"n":1}' }, 1);
        await assertStored(reader, { ...record, data: '{"n":1}', version: 2 }, 'after update');
        const next = rotated(record, { version: 3 });
        await writer.update(next, 2);
        await assertStored(reader, next, 'after a rotation');
        await writer.touch(next.id, START + MINUTE, START + 2 * HOUR);
        await assertStored(reader, { ...next, lastSeenAt: START + MINUTE, expiresAt: START + 2 * HOUR }, 'after touch');
        await assertListed(reader, 'ada', [next.id]);
        await writer.delete(next.id);
        await assertAbsent(reader, next.id, 'after delete');
        await assertListed(reader, 'ada', []);
      }
    },
    'a session ended by one is dead for an update, touch or rotation of each other': async ({ handles, races }) => {
      for (let round = 0; round < roundsOf({ races }); round++) {
        const [ender, writer] = [inTurn(handles, round), inTurn(handles, round + 1)];
        const record = await create(writer, { principal: 'ada' });
        assert.deepEqual(await endAll(ender, 'ada'), [record.id]);
        assert.equal(await writer.touch(record.id, START + MINUTE, START + 2 * HOUR), false);
        assert.equal(await writer.update(record, 1), 'gone');
        assert.equal(await writer.update(rotated(record), 1), 'gone');
        await assertAbsent(ender, record.id);
      }
    },
  },
  'close and open again': {
    'what was answered is in the store before the backend is closed': async ({ backend, openAgain }) => {
      const record = await create(backend, { principal: 'ada' });
      const ended = await create(backend, { principal: 'ada' });
      await backend.delete(ended.id);
      // A store for one process at a time may refuse; one that can be opened shows everything.
      const second = await openAgain().catch(() => undefined);
      if (!second) return;
      await assertStored(second, record, 'for a second handle, before the first one is closed');
      await assertAbsent(second, ended.id, 'for a second handle, before the first one is closed');
    },
    'after close no method answers that a stored record is absent': async ({ backend, openAgain }) => {
      const stored = await storeOneForEach(backend);
      await backend.close();
      await assertNoneDenied(backend, stored, 'after close');
      const again = await openAgain();
      assert.ok((await again.read(stored.touch.id)) !== undefined, 'it is still there');
    },
    'waits for what is under way: each write is either done or rejected, never lost in silence': async ({
      backend,
      openAgain,
    }) => {
      const records = Array.from({ length: 20 }, () => newRecord());
      const writes = records.map(record => backend.create(record));
      await backend.close();
      const outcomes = await Promise.allSettled(writes);
      const again = await openAgain();
      for (const [n, outcome] of outcomes.entries()) {
        const record = records[n];
        if (record && outcome.status === 'fulfilled') await assertStored(again, record);
      }
    },
    'keeps the records: whoever opens the store again finds them': async ({ backend, handles, openAgain }) => {
      const record = await create(backend, { principal: 'ada' });
      for (const handle of handles) await handle.close();
      const again = await openAgain();
      await assertStored(again, record);
      await assertListed(again, 'ada', [record.id]);
    },
  },
};
