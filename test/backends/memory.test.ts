import 'reflect-metadata';

import fc from 'fast-check';
import { InMemoryBackend, type SessionRecord } from 'routing-controllers-sessions';

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
