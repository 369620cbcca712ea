import assert from 'node:assert/strict';
import type { SessionRecord } from '../../core/record.js';
import type { Sections } from './case.js';
import { assertAbsent, assertListed, assertStored, create, HOUR, MINUTE, newRecord, START, endAll } from './records.js';

/**
 * Strings that some engine somewhere interprets, cuts off, folds, trims or cannot store. Each has at most 1,024 bytes of
 * UTF-8.
 */
const HOSTILE = [
  '',
  ' ',
  'a',
  'A',
  'a ',
  ' a',
  '__proto__',
  'constructor',
  'hasOwnProperty',
  'toString',
  'then',
  'null',
  'undefined',
  '0',
  'NaN',
  '[]',
  '\0',
  'a\0',
  'a\0b',
  '\0'.repeat(1024),
  '\n',
  'a\nb',
  '\r\n',
  '\t',
  '\u001b[2J',
  '\u007f',
  '"',
  "'",
  "'; DROP TABLE sessions; --",
  '\\',
  '\\0',
  '\\u0000',
  '\\'.repeat(1024),
  '`',
  '$1',
  '${1}',
  '*',
  '?',
  'a*',
  '[a-z]',
  '%',
  '_',
  '{}',
  '{a}',
  '{',
  '}{',
  ':',
  'a:b',
  '/',
  '../../etc/passwd',
  '<b>',
  'é',
  'e\u0301',
  'ß',
  'SS',
  '\u2028',
  '\ufeff',
  '\ufffd',
  '\ufffe',
  '\uffff',
  '😀',
  '\u{10ffff}',
  'x'.repeat(1024),
  `${'x'.repeat(1023)}y`,
  '漢'.repeat(341),
  '😀'.repeat(256),
];

/** UTF-16 that is not text and has no bytes in UTF-8: both would become U+FFFD. */
const LONE_SURROGATES = ['\ud800', '\udc00', 'a\ud83d', '\ude00a'];

export const values: Sections = {
  copies: {
    'changing a record that was handed in changes nothing in the store, even before the answer is there': async ({
      backend,
    }) => {
      const spoil = (record: SessionRecord): void => {
        Object.assign(record, { data: 'spoilt', proof: 'spoilt', principal: 'eve', version: 666, lastSeenAt: 0 });
      };
      const record = newRecord({ principal: 'ada' });
      const created = { ...record };
      const creating = backend.create(created);
      spoil(created);
      await creating;
      await assertStored(backend, record, 'after create');

      const updated = { ...record, data: '{"n":1}' };
      const updating = backend.update(updated, 1);
      spoil(updated);
      await updating;
      await assertStored(backend, { ...record, data: '{"n":1}', version: 2 }, 'after update');

      await assertListed(backend, 'ada', [record.id]);
      await assertListed(backend, 'eve', []);
    },
    'changing a record that was read or listed changes nothing in the store': async ({ backend }) => {
      const record = await create(backend, { principal: 'ada' });
      for (const copy of [await backend.read(record.id), ...(await backend.listByPrincipal('ada'))]) {
        assert.ok(copy);
        Object.assign(copy, { data: 'spoilt', proof: 'spoilt', principal: 'eve', version: 666, expiresAt: 0 });
      }
      await assertStored(backend, record);
      await assertListed(backend, 'ada', [record.id]);
    },
  },
  sizes: {
    'data of no length and of 64 KiB comes back byte for byte, also where a character takes 2, 3 or 4 bytes': async ({
      backend,
    }) => {
      const bytes = 64 * 1024;
      for (const data of ['', 'x'.repeat(bytes), 'é'.repeat(bytes / 2), '漢'.repeat(21_845), '😀'.repeat(bytes / 4)]) {
        const record = await create(backend, { data });
        await assertStored(backend, record);
        assert.equal(await backend.update({ ...record, data: `zz${data.slice(2)}` }, 1), 'updated');
        await assertStored(backend, { ...record, data: `zz${data.slice(2)}`, version: 2 });
      }
    },
    'a proof of no length and of 1,024 bytes comes back byte for byte, also where a character takes 2, 3 or 4 bytes':
      async ({ backend }) => {
        for (const proof of ['', 'x'.repeat(1024), 'é'.repeat(512), `${'漢'.repeat(341)}x`, '😀'.repeat(256)]) {
          const record = await create(backend, { proof });
          await assertStored(backend, record);
          // Only the last character differs.
          const other = proof.replace(/.$/u, 'y');
          assert.equal(await backend.update({ ...record, proof: other }, 1), 'updated');
          await assertStored(backend, { ...record, proof: other, version: 2 });
        }
      },
    'a user agent of 256 characters and an address with a zone are kept': async ({ backend }) => {
      await assertStored(
        backend,
        await create(backend, { userAgent: 'é'.repeat(256), ip: 'fe80::1ff:fe23:4567:890a%eth0' }),
      );
    },
  },
  'hostile values': {
    'as ids they are ordinary and distinct strings, through every operation': async ({ backend }) => {
      const records = HOSTILE.map((id, n) => newRecord({ id, data: `{"n":${n}}`, principal: `user-${n}` }));
      for (const record of records) {
        await assertAbsent(backend, record.id, 'before it was created: another id was taken for it');
        assert.equal(await backend.create(record), true, JSON.stringify(record.id));
      }
      for (const [n, record] of records.entries()) {
        await assertStored(backend, record);
        await assertListed(backend, `user-${n}`, [record.id]);
      }
      for (const [n, record] of records.entries()) {
        const changed = { ...record, data: 'changed', lastSeenAt: START + MINUTE, expiresAt: START + 2 * HOUR };
        assert.equal(await backend.touch(record.id, changed.lastSeenAt, changed.expiresAt), true);
        assert.equal(await backend.update(changed, 1), 'updated');
        await assertStored(backend, { ...changed, version: 2 });
        if (n % 2 === 0) assert.deepEqual(await endAll(backend, `user-${n}`), [record.id]);
        else assert.equal(await backend.delete(record.id), true);
        await assertAbsent(backend, record.id);
        const next = records[n + 1];
        if (next) await assertStored(backend, next, `after ${JSON.stringify(record.id)} was ended`);
      }
    },
    'as proofs they are stored one after the other in one record, each as it is': async ({ backend }) => {
      const record = await create(backend, { principal: 'ada' });
      for (const [n, proof] of HOSTILE.entries()) {
        assert.equal(await backend.update({ ...record, proof }, n + 1), 'updated', JSON.stringify(proof));
        await assertStored(backend, { ...record, proof, version: n + 2 }, `with the proof ${JSON.stringify(proof)}`);
      }
    },
    'as principals they are ordinary and distinct strings: listed, moved and revoked one by one': async ({
      backend,
    }) => {
      const records = HOSTILE.map(principal => newRecord({ principal }));
      for (const record of records) assert.equal(await backend.create(record), true, JSON.stringify(record.principal));
      for (const record of records) await assertStored(backend, record);
      for (const [n, principal] of HOSTILE.entries()) await assertListed(backend, principal, [records[n]?.id ?? '']);
      for (const [n, principal] of HOSTILE.entries()) {
        assert.deepEqual(await endAll(backend, principal), [records[n]?.id], JSON.stringify(principal));
        const next = records[n + 1];
        if (next) await assertListed(backend, next.principal ?? '', [next.id]);
      }
    },
    'as data, proof, ip and user agent they come back unchanged': async ({ backend }) => {
      for (const text of HOSTILE) {
        const record = await create(backend, { data: text, proof: text, ip: text, userAgent: text });
        await assertStored(backend, record);
        assert.equal(await backend.touch(record.id, START + MINUTE, START + HOUR + MINUTE), true);
        assert.equal(await backend.update({ ...record, data: text + text }, 1), 'updated');
        await assertStored(backend, { ...record, data: text + text, version: 2 });
      }
    },
    'lone surrogates come back as they were or are refused, and are never mistaken for one another': async ({
      backend,
    }) => {
      const taken: SessionRecord[] = [];
      for (const text of LONE_SURROGATES) {
        for (const record of [
          newRecord({ id: text }),
          newRecord({ principal: text }),
          newRecord({ data: text, userAgent: text }),
          newRecord({ proof: text }),
        ]) {
          const refused = await backend.create(record).then(
            created => (assert.equal(created, true, JSON.stringify(record)), false),
            () => true,
          );
          if (!refused) taken.push(record);
        }
      }
      for (const record of taken) {
        await assertStored(backend, record);
        if (record.principal !== undefined) await assertListed(backend, record.principal, [record.id]);
      }
    },
    'nothing of it reaches Object.prototype': async ({ backend }) => {
      const before = Reflect.ownKeys(Object.prototype).length;
      const record = await create(backend, {
        id: '__proto__',
        principal: '__proto__',
        data: '{"__proto__":{"polluted":true}}',
      });
      await backend.update(record, 1);
      await backend.listByPrincipal('__proto__');
      await backend.deleteByPrincipal('__proto__');
      assert.equal(Reflect.ownKeys(Object.prototype).length, before);
      assert.equal(Reflect.get({}, 'polluted'), undefined);
    },
  },
};
