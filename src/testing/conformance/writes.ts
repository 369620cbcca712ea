import assert from 'node:assert/strict';
import type { SessionBackend } from '../../core/backend.js';
import { inTurn, type Sections } from './case.js';
import {
  assertAbsent,
  assertListed,
  assertStored,
  create,
  HOUR,
  MINUTE,
  newId,
  newProof,
  newRecord,
  rotated,
  START,
  updated,
} from './records.js';

export const writes: Sections = {
  'create and read': {
    'an id that was never created reads as undefined': ({ backend }) => assertAbsent(backend, newId()),
    'a created record reads back with every property': async ({ backend }) => {
      const record = await create(backend, {
        principal: 'ada',
        data: '{"name":"Ada"}',
        createdAt: START - 3,
        authenticatedAt: START - 2,
        lastSeenAt: START - 1,
        ip: '2001:db8::1',
        userAgent: 'Mozilla/5.0',
      });
      await assertStored(backend, record);
    },
    'optional properties that were absent stay absent': async ({ backend }) => {
      for (const present of [{}, { principal: 'ada' }, { ip: '192.0.2.1' }, { userAgent: '' }]) {
        await assertStored(backend, await create(backend, present));
      }
    },
    'create of an id that is taken answers false and changes nothing': async ({ backend }) => {
      const record = await create(backend, { principal: 'ada' });
      assert.equal(await backend.create({ ...record, principal: 'eve', data: '{"n":666}', version: 7 }), false);
      await assertStored(backend, record);
      await assertListed(backend, 'ada', [record.id]);
      await assertListed(backend, 'eve', []);
    },
    'of 20 creates of one id at once exactly one answers true, and its record is the one stored': async ({
      backend,
      handles,
    }) => {
      const id = newId();
      const records = Array.from({ length: 20 }, (_, n) =>
        newRecord({ id, data: `{"n":${n}}`, principal: `user-${n}` }),
      );
      const answers = await Promise.all(records.map((record, n) => inTurn(handles, n).create(record)));
      assert.equal(answers.filter(Boolean).length, 1);
      for (const [n, record] of records.entries()) {
        if (answers[n]) await assertStored(backend, record);
        await assertListed(backend, `user-${n}`, answers[n] ? [id] : []);
      }
    },
    'reading writes nothing': async ({ backend }) => {
      const record = await create(backend, { principal: 'ada' });
      for (let n = 0; n < 5; n++) await assertStored(backend, record);
      assert.equal(await backend.update({ ...record, data: '{"n":1}' }, 1), 'updated');
    },
  },
  update: {
    'at the expected version the record is replaced, and its version counts up by one whatever the given one says':
      async ({ backend }) => {
        const record = await create(backend);
        const changed = {
          ...record,
          data: '{"n":1}',
          proof: newProof(),
          principal: 'ada',
          authenticatedAt: START + 1,
          lastSeenAt: START + 2,
          expiresAt: START + 2 * HOUR,
          ip: '192.0.2.1',
          userAgent: 'curl',
        };
        assert.equal(await backend.update({ ...changed, version: 99 }, 1), 'updated');
        await assertStored(backend, { ...changed, version: 2 });
        assert.equal(await backend.update({ ...changed, data: '{"n":2}', version: 2 }, 2), 'updated');
        await assertStored(backend, { ...changed, data: '{"n":2}', version: 3 });
      },
    'optional properties that the new record lacks are removed': async ({ backend }) => {
      const record = await create(backend, { principal: 'ada', ip: '192.0.2.1', userAgent: 'curl' });
      const bare = newRecord({ id: record.id });
      assert.equal(await backend.update(bare, 1), 'updated');
      await assertStored(backend, { ...bare, version: 2 });
    },
    'at any other version it answers conflict and changes nothing': async ({ backend }) => {
      const record = await create(backend, { principal: 'ada', version: 5 });
      for (const expected of [0, 1, 4, 6, 50]) {
        const outcome = await backend.update({ ...record, data: '{"n":666}', principal: 'eve' }, expected);
        assert.equal(outcome, 'conflict', `expected version ${expected}, stored 5`);
      }
      await assertStored(backend, record);
      await assertListed(backend, 'ada', [record.id]);
      await assertListed(backend, 'eve', []);
    },
    'of an unknown id it answers gone and makes nothing': async ({ backend }) => {
      const record = newRecord({ principal: 'ada' });
      for (const expected of [0, 1]) assert.equal(await backend.update(record, expected), 'gone');
      await assertAbsent(backend, record.id);
      await assertListed(backend, 'ada', []);
    },
    'of a deleted record it answers gone and does not bring it back': async ({ backend }) => {
      const record = await create(backend, { principal: 'ada' });
      await backend.delete(record.id);
      assert.equal(await backend.update(record, 1), 'gone');
      await assertAbsent(backend, record.id);
      await assertListed(backend, 'ada', []);
    },
    'versions beyond 32 bits are kept': async ({ backend }) => {
      const record = await create(backend, { version: 2 ** 40 });
      assert.equal(await backend.update({ ...record, data: '1' }, 2 ** 40), 'updated');
      await assertStored(backend, { ...record, data: '1', version: 2 ** 40 + 1 });
    },
  },
  touch: {
    'moves last seen and expiry forwards and nothing else, the version included': async ({ backend }) => {
      const record = await create(backend, { principal: 'ada', version: 3, userAgent: 'curl' });
      const times = { lastSeenAt: START + MINUTE, expiresAt: START + HOUR + MINUTE };
      assert.equal(await backend.touch(record.id, times.lastSeenAt, times.expiresAt), true);
      await assertStored(backend, { ...record, ...times });
      assert.deepEqual(
        (await backend.listByPrincipal('ada')).map(listed => ({ ...listed })),
        [{ ...record, ...times }],
      );
    },
    'an earlier or equal time answers true and changes nothing': async ({ backend }) => {
      const record = await create(backend);
      assert.equal(await backend.touch(record.id, START, START + 2 * HOUR), true);
      assert.equal(await backend.touch(record.id, START - 1, START + 2 * HOUR), true);
      assert.equal(await backend.touch(record.id, START - HOUR, START), true);
      await assertStored(backend, record);
    },
    'of an unknown or deleted id it answers false and creates nothing': async ({ backend }) => {
      const record = await create(backend, { principal: 'ada' });
      await backend.delete(record.id);
      for (const id of [newId(), record.id]) {
        assert.equal(await backend.touch(id, START + MINUTE, START + HOUR), false);
        await assertAbsent(backend, id);
      }
      await assertListed(backend, 'ada', []);
    },
    'does not make an update conflict': async ({ backend }) => {
      const record = await create(backend);
      await backend.touch(record.id, START + MINUTE, START + HOUR);
      assert.equal(await backend.update({ ...record, data: '{"n":1}' }, 1), 'updated');
    },
    'of 30 touches at once, in any order, the latest stands': async ({ backend, handles, random }) => {
      const record = await create(backend);
      const minutes = random.shuffle(Array.from({ length: 30 }, (_, n) => n + 1));
      const answers = await Promise.all(
        minutes.map((n, at) => inTurn(handles, at).touch(record.id, START + n * MINUTE, START + HOUR + n * MINUTE)),
      );
      assert.ok(answers.every(Boolean));
      await assertStored(backend, {
        ...record,
        lastSeenAt: START + 30 * MINUTE,
        expiresAt: START + HOUR + 30 * MINUTE,
      });
    },
    'racing an update it takes neither data nor proof back: 100 rounds': async ({ backend, handles }) => {
      const record = await create(backend);
      for (let version = 1; version <= 100; version++) {
        const data = `{"n":${version}}`;
        const proof = `proof ${version}`;
        const lastSeenAt = START + 2 * version * MINUTE;
        const touch = (on: SessionBackend, seen: number): Promise<boolean> =>
          on.touch(record.id, seen, START + 9 * HOUR);
        const writes: ((on: SessionBackend) => Promise<unknown>)[] = [
          on => touch(on, lastSeenAt),
          on => touch(on, lastSeenAt + MINUTE),
        ];
        // First, between them, and last.
        const turn = version % 3;
        writes.splice(turn, 0, on => on.update({ ...record, data, proof, lastSeenAt }, version));
        const outcomes = await Promise.all(writes.map((write, n) => write(inTurn(handles, version + n))));
        assert.deepEqual(
          outcomes,
          turn === 0 ? ['updated', true, true] : turn === 1 ? [true, 'updated', true] : [true, true, 'updated'],
        );
        const stored = await backend.read(record.id);
        assert.deepEqual([stored?.data, stored?.proof, stored?.version], [data, proof, version + 1]);
      }
    },
  },
  'rotation, an update that brings another proof': {
    'stores the new proof under the same id, and nothing else changes': async ({ backend }) => {
      const record = await create(backend, { principal: 'ada', version: 4, userAgent: 'curl' });
      const next = rotated(record);
      assert.equal(await backend.update(next, 4), 'updated');
      await assertStored(backend, updated(next));
      assert.deepEqual(
        (await backend.listByPrincipal('ada')).map(listed => ({ ...listed })),
        [updated(next)],
      );
    },
    'stores a proof that differs only in case, in a blank at the end, or in how a character is composed': async ({
      backend,
    }) => {
      const record = await create(backend, { proof: 'proof' });
      const proofs = [
        'PROOF',
        'Proof',
        'proof',
        'proof ',
        'proof',
        'proof\0',
        'pro\u00f6f',
        'proo\u0308f',
        '1',
        '1.0',
        '',
      ];
      for (const [n, proof] of proofs.entries()) {
        assert.equal(await backend.update({ ...record, proof }, n + 1), 'updated', JSON.stringify(proof));
        await assertStored(backend, { ...record, proof, version: n + 2 }, `with the proof ${JSON.stringify(proof)}`);
      }
    },
    'changes the version also where the proof stays the same': async ({ backend }) => {
      const record = await create(backend);
      assert.equal(await backend.update(record, 1), 'updated');
      assert.equal(await backend.update(rotated(record), 1), 'conflict');
      await assertStored(backend, updated(record));
    },
    'at any other version it answers conflict, and the proof stays': async ({ backend }) => {
      const record = await create(backend, { principal: 'ada', version: 4 });
      for (const expected of [1, 3, 5, 40]) {
        assert.equal(await backend.update(rotated(record), expected), 'conflict', `version ${expected}, stored 4`);
      }
      await assertStored(backend, record);
    },
    'of an unknown or deleted id it answers gone and makes nothing': async ({ backend }) => {
      const record = await create(backend, { principal: 'ada' });
      await backend.delete(record.id);
      for (const id of [newId(), record.id]) {
        assert.equal(await backend.update(rotated(record, { id }), 1), 'gone');
        await assertAbsent(backend, id);
      }
      await assertListed(backend, 'ada', []);
    },
    'a rotated session works on: touch, update, another rotation, delete': async ({ backend }) => {
      const record = await create(backend, { principal: 'ada' });
      const first = rotated(record);
      assert.equal(await backend.update(first, 1), 'updated');
      assert.equal(await backend.touch(record.id, START + MINUTE, START + 2 * HOUR), true);
      const times = { lastSeenAt: START + MINUTE, expiresAt: START + 2 * HOUR };
      await assertStored(backend, { ...first, ...times, version: 2 }, 'after touch');
      assert.equal(await backend.update({ ...first, ...times, data: '{"n":1}' }, 2), 'updated');
      const second = rotated(first, { ...times, data: '{"n":1}' });
      assert.equal(await backend.update(second, 3), 'updated');
      await assertStored(backend, { ...second, version: 4 });
      assert.equal(await backend.delete(record.id), true);
      await assertAbsent(backend, record.id);
      await assertListed(backend, 'ada', []);
    },
  },
  delete: {
    'answers true for what it removed, false after that and for an unknown id': async ({ backend }) => {
      const record = await create(backend, { principal: 'ada' });
      assert.equal(await backend.delete(record.id), true);
      await assertAbsent(backend, record.id);
      await assertListed(backend, 'ada', []);
      assert.equal(await backend.delete(record.id), false);
      assert.equal(await backend.delete(newId()), false);
    },
    'of 20 deletes of one id at once exactly one answers true': async ({ backend, handles }) => {
      const { id } = await create(backend);
      const answers = await Promise.all(Array.from({ length: 20 }, (_, n) => inTurn(handles, n).delete(id)));
      assert.equal(answers.filter(Boolean).length, 1);
    },
    'leaves other records alone': async ({ backend }) => {
      const [record, other] = [
        await create(backend, { principal: 'ada' }),
        await create(backend, { principal: 'ada' }),
      ];
      await backend.delete(record.id);
      await assertStored(backend, other);
      await assertListed(backend, 'ada', [other.id]);
    },
  },
  close: {
    'resolves, also a second time': async ({ backend }) => {
      await create(backend);
      await backend.close();
      await backend.close();
    },
  },
};
