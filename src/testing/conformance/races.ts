import assert from 'node:assert/strict';
import type { SessionBackend, WriteOutcome } from '../../core/backend.js';
import type { SessionRecord } from '../../core/record.js';
import { inParallel, inTurn, nextTurn, type Bench, type Sections } from './case.js';
import {
  assertAbsent,
  assertListed,
  assertStored,
  create,
  HOUR,
  idsOf,
  MINUTE,
  newPrincipal,
  newRecord,
  rotated,
  START,
  endAll,
} from './records.js';

const AT_ONCE = 32;

export const races: Sections = {
  'lost updates': {
    '10 writers count one record up 20 times each: 200 of 200 are counted': async ({ backend, handles }) => {
      const record = await create(backend);
      await inParallel(10, 10, async writer => {
        const handle = inTurn(handles, writer);
        for (let n = 0; n < 20; n++) await countUp(handle, record.id);
      });
      await assertStored(backend, { ...record, data: '{"n":200}', version: 201 });
    },
    'of 20 updates of one version at once exactly one is told updated, the others conflict': async ({
      backend,
      handles,
    }) => {
      const record = await create(backend);
      const outcomes = await Promise.all(
        Array.from({ length: 20 }, (_, n) => inTurn(handles, n).update({ ...record, data: `{"n":${n}}` }, 1)),
      );
      assert.deepEqual(count(outcomes), { updated: 1, conflict: 19 });
      await assertStored(backend, { ...record, data: `{"n":${outcomes.indexOf('updated')}}`, version: 2 });
    },
  },
  resurrection: {
    'random races of update, touch, rotation and ending: at most one ending, nothing comes back': async bench => {
      await inParallel(bench.races, AT_ONCE, () => raceOneSession(bench));
    },
  },
  'rotation in one step': {
    'a reader beside 200 rotations never finds both ids alive and never neither': async ({
      backend,
      handles,
      random,
    }) => {
      let record = await create(backend, { principal: 'ada' });
      for (let round = 0; round < 200; round++) {
        const next = rotated(record);
        let settled = false;
        const rotation = inTurn(handles, round)
          .replace(record.id, next)
          .finally(() => (settled = true));
        const watch = async (reader: SessionBackend, newFirst: boolean): Promise<void> => {
          while (!settled) {
            await assertOneAlive(reader, record.id, next.id, newFirst);
            // Reads of a backend in memory are over without the event loop having turned: the rotation needs its turns, too.
            await nextTurn();
          }
        };
        const order = random.integer(2) === 0;
        await Promise.all([
          rotation,
          ...handles.map((reader, n) => watch(reader, order === (n % 2 === 0))),
          watch(backend, !order),
        ]);
        assert.equal(await rotation, 'updated');
        record = next;
      }
      await assertListed(backend, 'ada', [record.id]);
    },
    'of two rotations of one record one wins and the other is told: 100 rounds': async ({ backend, handles }) => {
      await inParallel(100, AT_ONCE, async round => {
        const principal = newPrincipal();
        const record = await create(backend, { principal });
        const next = [rotated(record), rotated(record), rotated(record)];
        const outcomes = await Promise.all(next.map((made, n) => inTurn(handles, round + n).replace(record.id, made)));
        assert.equal(outcomes.filter(outcome => outcome === 'updated').length, 1, outcomes.join());
        await assertAbsent(backend, record.id);
        for (const [n, made] of next.entries()) {
          if (outcomes[n] === 'updated') await assertStored(backend, made);
          else await assertAbsent(backend, made.id);
        }
        await assertListed(
          backend,
          principal,
          next.filter((_, n) => outcomes[n] === 'updated').map(({ id }) => id),
        );
      });
    },
    'of a rotation and an update of one version exactly one is done: 100 rounds': async ({ backend, handles }) => {
      await inParallel(100, AT_ONCE, async round => {
        const record = await create(backend);
        const next = rotated(record);
        const rotate = (): Promise<WriteOutcome> => inTurn(handles, round).replace(record.id, next);
        const update = (): Promise<WriteOutcome> =>
          inTurn(handles, round + 1).update({ ...record, data: '{"n":1}' }, 1);
        const [first, second] = round % 2 === 0 ? [rotate, update] : [update, rotate];
        const answers = await Promise.all([first(), second()]);
        const [replaced, updated] = round % 2 === 0 ? answers : answers.toReversed();
        if (replaced === 'updated') {
          assert.equal(updated, 'gone');
          await assertAbsent(backend, record.id);
          await assertStored(backend, next);
        } else {
          assert.deepEqual([replaced, updated], ['conflict', 'updated']);
          await assertStored(backend, { ...record, data: '{"n":1}', version: 2 });
          await assertAbsent(backend, next.id);
        }
      });
    },
  },
  revocation: {
    'racing log-ins, rotations, updates and touches, deleteByPrincipal leaves nothing alive that is older than the call':
      async bench => {
        await inParallel(Math.ceil(bench.races / 10), AT_ONCE, () => raceRevocation(bench));
      },
    'two revocations of one principal at once name no session twice and miss none: 50 rounds': async ({
      backend,
      handles,
    }) => {
      await inParallel(50, AT_ONCE, async round => {
        const principal = newPrincipal();
        const records = await Promise.all(Array.from({ length: 6 }, () => create(backend, { principal })));
        const answers = await Promise.all([0, 1].map(n => endAll(inTurn(handles, round + n), principal)));
        assert.deepEqual(answers.flat().sort(), records.map(({ id }) => id).sort());
        for (const { id } of records) await assertAbsent(backend, id);
      });
    },
    'log-ins that race for a principal are all listed: 10 rounds of 30': async ({ backend, handles }) => {
      for (let round = 0; round < 10; round++) {
        const principal = newPrincipal();
        const records = Array.from({ length: 30 }, () => newRecord({ principal }));
        await Promise.all(records.map((record, n) => inTurn(handles, n).create(record)));
        await assertListed(
          backend,
          principal,
          records.map(({ id }) => id),
        );
        assert.equal((await backend.deleteByPrincipal(principal)).length, 30);
      }
    },
  },
};

async function countUp(backend: SessionBackend, id: string): Promise<void> {
  for (let attempt = 0; attempt < 10_000; attempt++) {
    const stored = await backend.read(id);
    assert.ok(stored, 'the record that is counted up is there');
    const { n } = JSON.parse(stored.data) as { n: number };
    if ((await backend.update({ ...stored, data: `{"n":${n + 1}}` }, stored.version)) === 'updated') return;
  }
  assert.fail('10,000 updates of the version just read all conflicted');
}

/** Two reads are not one instant: only what no instant between them can explain is a fault. */
async function assertOneAlive(reader: SessionBackend, oldId: string, newId: string, newFirst: boolean): Promise<void> {
  if (newFirst) {
    if ((await reader.read(newId)) && (await reader.read(oldId)))
      assert.fail('both the old and the new id of a rotation were alive');
  } else if (!(await reader.read(oldId)) && !(await reader.read(newId))) {
    assert.fail('neither the old nor the new id of a rotation was alive');
  }
}

/** What one operation of a race answered. */
type Answer =
  | { did: 'update' | 'replace'; outcome: WriteOutcome; next: SessionRecord }
  | { did: 'touch' | 'delete'; done: boolean }
  | { did: 'revoke'; ended: string[] };

/** Starts a few random operations on one session at once and checks that their answers and what is left agree. */
async function raceOneSession({ backend, handles, random }: Bench): Promise<void> {
  const principal = newPrincipal();
  const record = await create(backend, { principal });

  const operations: Record<Answer['did'], (on: SessionBackend) => Promise<Answer>> = {
    async update(on) {
      const next = { ...record, data: '{"n":1}' };
      return { did: 'update', outcome: await on.update(next, 1), next: { ...next, version: 2 } };
    },
    async replace(on) {
      const next = rotated(record);
      return { did: 'replace', outcome: await on.replace(record.id, next), next };
    },
    touch: async on => ({ did: 'touch', done: await on.touch(record.id, START + MINUTE, START + 2 * HOUR) }),
    delete: async on => ({ did: 'delete', done: await on.delete(record.id) }),
    revoke: async on => ({ did: 'revoke', ended: await endAll(on, principal) }),
  };
  const names = Object.keys(operations) as Answer['did'][];
  // At least one of them ends the session: what only changes it has cases of its own.
  const chosen = random.shuffle<Answer['did']>([
    random.pick(['delete', 'revoke', 'replace'] as const),
    ...Array.from({ length: 2 + random.integer(4) }, () => random.pick(names)),
  ]);
  const told = await Promise.all(
    chosen.map(async name => {
      const handle = random.pick(handles);
      for (let turns = random.integer(4); turns > 0; turns--) await nextTurn();
      return operations[name](handle);
    }),
  );

  const story = `seed ${random.seed}, answers ${JSON.stringify(told)}`;
  const replacement = told.flatMap(answer =>
    answer.did === 'replace' && answer.outcome === 'updated' ? [answer.next.id] : [],
  );
  const revoked = told.flatMap(answer => (answer.did === 'revoke' ? answer.ended : []));
  const endings =
    told.filter(answer => answer.did === 'delete' && answer.done).length +
    revoked.filter(id => id === record.id).length +
    replacement.length;
  const updates = told.filter(answer => answer.did === 'update' && answer.outcome === 'updated').length;
  const isEnded = chosen.includes('delete') || chosen.includes('revoke') || replacement.length > 0;

  assert.ok(endings <= 1, `one session was ended ${endings} times: ${story}`);
  assert.equal(endings === 1, isEnded, `the session's ending was not told, or told of none: ${story}`);
  assert.ok(updates <= 1, `two updates of one version were both done: ${story}`);
  if (isEnded) await assertAbsent(backend, record.id, `although it was ended: ${story}`);

  const alive = replacement.filter(id => !revoked.includes(id));
  for (const answer of told) {
    if (answer.did !== 'replace') continue;
    if (alive.includes(answer.next.id)) await assertStored(backend, answer.next, story);
    else await assertAbsent(backend, answer.next.id, `although nothing made it or it was ended: ${story}`);
  }
  assert.deepEqual(await idsOf(backend, principal), isEnded ? alive : [record.id], `the index after ${story}`);

  if (!isEnded) return;
  const late = random.pick(handles);
  assert.equal(await late.update(record, 1), 'gone', story);
  assert.equal(await late.touch(record.id, START + 2 * MINUTE, START + 3 * HOUR), false, story);
  assert.equal(await late.replace(record.id, rotated(record)), 'gone', story);
  await assertAbsent(backend, record.id, `although it was ended, after late writes: ${story}`);
}

/**
 * Sessions that were there before `deleteByPrincipal` was called are rotated, updated and touched while it runs: none may
 * live on, under whatever id. A log-in that begins meanwhile may come before or after it, or fail, but must be listed if
 * it lives.
 */
async function raceRevocation({ backend, handles, random }: Bench): Promise<void> {
  const principal = newPrincipal();
  const older = await Promise.all(Array.from({ length: 4 }, () => create(backend, { principal })));
  const story = `seed ${random.seed}`;

  const rotations: SessionRecord[] = [];
  const logins: { record: SessionRecord; created: boolean }[] = [];
  const bystanders: (() => Promise<unknown>)[] = older.flatMap(record => [
    async () => {
      const on = random.pick(handles);
      let last = record;
      for (let n = 0; n < 3; n++) {
        const next = rotated(last);
        rotations.push(next);
        if ((await on.replace(last.id, next)) !== 'updated') return;
        last = next;
      }
    },
    () => random.pick(handles).update({ ...record, data: '{"n":1}' }, 1),
    () => random.pick(handles).touch(record.id, START + MINUTE, START + 2 * HOUR),
  ]);
  const login = async (): Promise<void> => {
    const record = newRecord({ principal });
    logins.push({
      record,
      created: await random
        .pick(handles)
        .create(record)
        .catch(() => false),
    });
  };
  const revoke = async (): Promise<string[]> => {
    for (let turns = random.integer(6); turns > 0; turns--) await nextTurn();
    return endAll(random.pick(handles), principal);
  };

  const [ended] = await Promise.all([revoke(), ...random.shuffle([...bystanders, login, login]).map(start => start())]);
  for (const { id } of [...older, ...rotations])
    await assertAbsent(backend, id, `although its user was logged out everywhere: ${story}`);
  for (const id of ended) await assertAbsent(backend, id, `although it was named as ended: ${story}`);

  const alive: string[] = [];
  for (const { record, created } of logins) {
    if (await backend.read(record.id)) alive.push(record.id);
    else if (created) assert.ok(ended.includes(record.id), `a log-in was neither alive nor named as ended: ${story}`);
  }
  assert.deepEqual(await idsOf(backend, principal), alive.sort(), `the index after a revocation: ${story}`);
  await backend.deleteByPrincipal(principal);
  for (const id of alive) await assertAbsent(backend, id, story);
}

function count(outcomes: readonly string[]): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const outcome of outcomes) counts[outcome] = (counts[outcome] ?? 0) + 1;
  return counts;
}
