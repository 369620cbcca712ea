import assert from 'node:assert/strict';
import type { SessionBackend, WriteOutcome } from '../../core/backend.js';
import type { SessionRecord } from '../../core/record.js';
import { bystandersOf } from './bystanders.js';
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
  updated,
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
    'random races of update, rotation, touch and ending: one ending, nothing comes back': async bench => {
      await inParallel(bench.races, AT_ONCE, () => raceOneSession(bench));
    },
  },
  rotation: {
    'a reader beside 200 rotations always finds the session, with the proof of its version': async ({
      backend,
      handles,
    }) => {
      const record = await create(backend, { principal: 'ada' });
      const proofs = new Map([[1, record.proof]]);
      let isOver = false;
      const watch = async (reader: SessionBackend): Promise<void> => {
        while (!isOver) {
          const stored = await reader.read(record.id);
          assert.ok(stored, 'a session was absent while it was rotated');
          assert.equal(stored.proof, proofs.get(stored.version), `the proof at version ${stored.version}`);
          // Reads of a backend in memory finish without yielding to the event loop; the rotation needs turns, too.
          await nextTurn();
        }
      };
      const rotateAll = async (): Promise<void> => {
        for (let version = 1; version <= 200; version++) {
          const next = rotated(record);
          proofs.set(version + 1, next.proof);
          assert.equal(await inTurn(handles, version).update(next, version), 'updated');
          if (version % 4 === 0) await nextTurn();
        }
      };
      await Promise.all([rotateAll().finally(() => (isOver = true)), ...handles.map(watch)]);
      await assertListed(backend, 'ada', [record.id]);
    },
    'of three rotations of one version one wins, the others are told, and its proof is the one stored: 100 rounds':
      async ({ backend, handles }) => {
        await inParallel(100, AT_ONCE, async round => {
          const principal = newPrincipal();
          const record = await create(backend, { principal });
          const next = [rotated(record), rotated(record), rotated(record)];
          const outcomes = await Promise.all(next.map((made, n) => inTurn(handles, round + n).update(made, 1)));
          assert.deepEqual(count(outcomes), { updated: 1, conflict: 2 });
          const winner = next[outcomes.indexOf('updated')];
          assert.ok(winner);
          await assertStored(backend, updated(winner));
          await assertListed(backend, principal, [record.id]);
        });
      },
    'of a rotation and an update of one version exactly one is done: 100 rounds': async ({ backend, handles }) => {
      await inParallel(100, AT_ONCE, async round => {
        const record = await create(backend);
        const writes = [rotated(record), { ...record, data: '{"n":1}' }];
        if (round % 2 === 0) writes.reverse();
        const outcomes = await Promise.all(writes.map((write, n) => inTurn(handles, round + n).update(write, 1)));
        assert.deepEqual(count(outcomes), { updated: 1, conflict: 1 });
        const winner = writes[outcomes.indexOf('updated')];
        assert.ok(winner);
        await assertStored(backend, updated(winner));
      });
    },
    'of a rotation and a log-out the log-out is the last word: 100 rounds': async ({ backend, handles }) => {
      await inParallel(100, AT_ONCE, async round => {
        const record = await create(backend, { principal: newPrincipal() });
        const rotate = (): Promise<WriteOutcome> => inTurn(handles, round).update(rotated(record), 1);
        const end = (): Promise<boolean> => inTurn(handles, round + 1).delete(record.id);
        const [first, second] = round % 2 === 0 ? [rotate, end] : [end, rotate];
        const answers: unknown[] = await Promise.all([first(), second()]);
        assert.ok(answers.includes(true), 'the log-out ended the session');
        assert.ok(answers.includes('updated') || answers.includes('gone'), String(answers));
        await assertAbsent(backend, record.id);
      });
    },
  },
  revocation: {
    'racing log-ins, rotations, updates and touches, deleteByPrincipal leaves nothing alive that is older than the call':
      async bench => {
        await inParallel(Math.ceil(bench.races / 10), AT_ONCE, () => raceRevocation(bench));
      },
    'a flood of log-ins of that principal does not keep it from answering, and what was there before is dead':
      raceFlood,
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
    'a session that another principal takes over meanwhile is either ended, or is theirs and lives: 100 rounds':
      async ({ backend, handles }) => {
        await inParallel(100, AT_ONCE, async round => {
          const [ada, bob] = [newPrincipal(), newPrincipal()];
          const record = await create(backend, { principal: ada });
          const takeOver = (): Promise<WriteOutcome> => inTurn(handles, round).update({ ...record, principal: bob }, 1);
          const end = (): Promise<string[]> => endAll(inTurn(handles, round + 1), ada);
          const [outcome, ended] =
            round % 2 === 0
              ? await Promise.all([takeOver(), end()])
              : (await Promise.all([end(), takeOver()])).toReversed();
          assert.deepEqual(ended, outcome === 'updated' ? [] : [record.id]);
          if (outcome === 'updated') await assertStored(backend, { ...record, principal: bob, version: 2 });
          else await assertAbsent(backend, record.id);
          await assertListed(backend, ada, []);
          assert.deepEqual(await endAll(backend, bob), outcome === 'updated' ? [record.id] : []);
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

/** The outcome of one operation in a race. */
type Answer =
  | { did: 'update' | 'rotate'; outcome: WriteOutcome; next: SessionRecord }
  | { did: 'touch' | 'delete'; done: boolean }
  | { did: 'revoke'; ended: string[] };

/** Starts a few random operations on one session at once, and checks that their outcomes and the final state agree. */
async function raceOneSession({ backend, handles, random }: Bench): Promise<void> {
  const principal = newPrincipal();
  const record = await create(backend, { principal });

  const operations: Record<Answer['did'], (on: SessionBackend) => Promise<Answer>> = {
    async update(on) {
      const next = { ...record, data: '{"n":1}' };
      return { did: 'update', outcome: await on.update(next, 1), next: updated(next) };
    },
    async rotate(on) {
      const next = rotated(record);
      return { did: 'rotate', outcome: await on.update(next, 1), next: updated(next) };
    },
    touch: async on => ({ did: 'touch', done: await on.touch(record.id, START + MINUTE, START + 2 * HOUR) }),
    delete: async on => ({ did: 'delete', done: await on.delete(record.id) }),
    revoke: async on => ({ did: 'revoke', ended: await endAll(on, principal) }),
  };
  const names = Object.keys(operations) as Answer['did'][];
  // At least one of them ends the session. Changes without an ending have cases of their own.
  const chosen = random.shuffle<Answer['did']>([
    random.pick(['delete', 'revoke'] as const),
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
  const endings =
    told.filter(answer => answer.did === 'delete' && answer.done).length +
    told.flatMap(answer => (answer.did === 'revoke' ? answer.ended : [])).filter(id => id === record.id).length;
  const writes = told.filter(answer => 'outcome' in answer && answer.outcome === 'updated').length;

  assert.equal(endings, 1, `one session was ended ${endings} times: ${story}`);
  assert.ok(writes <= 1, `two updates of one version were both done: ${story}`);
  await assertAbsent(backend, record.id, `although it was ended: ${story}`);
  await assertListed(backend, principal, []);

  const late = random.pick(handles);
  for (const version of [1, 2]) assert.equal(await late.update(rotated(record), version), 'gone', story);
  assert.equal(await late.touch(record.id, START + 2 * MINUTE, START + 3 * HOUR), false, story);
  await assertAbsent(backend, record.id, `although it was ended, after late writes: ${story}`);
}

/**
 * Rotates, updates and touches sessions that existed before `deleteByPrincipal` was called, while it runs: none may survive.
 * A log-in that begins meanwhile may come before or after it, or fail, but must be listed if it is alive.
 */
async function raceRevocation({ backend, handles, random }: Bench): Promise<void> {
  const principal = newPrincipal();
  const older = await Promise.all(Array.from({ length: 4 }, () => create(backend, { principal })));
  const story = `seed ${random.seed}`;

  const logins: { record: SessionRecord; created: boolean }[] = [];
  const bystanders = bystandersOf(older, handles, random);
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
  for (const { id } of older) await assertAbsent(backend, id, `although its user was logged out everywhere: ${story}`);
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

/** The number of log-ins of one principal at once, and the most of them in all: a correct backend answers long before. */
const FLOOD_LANES = 50;
const FLOOD_END = 10_000;

/** Repeats log-ins until `deleteByPrincipal` has answered. A count limits them, not a time. */
async function raceFlood({ backend, handles }: Bench): Promise<void> {
  const principal = newPrincipal();
  const spared = await create(backend, { principal });
  const older = await Promise.all(Array.from({ length: 4 }, () => create(backend, { principal })));
  const resolved: string[] = [];
  let begun = 0;
  let isCalled = false;
  let isAnswered = false;
  let started = (): void => undefined;
  const isUnderWay = new Promise<void>(resolve => (started = resolve));
  const lane = async (_: unknown, n: number): Promise<void> => {
    while (!isAnswered && begun < FLOOD_END) {
      begun++;
      const record = newRecord({ principal });
      const isMade = await inTurn(handles, n)
        .create(record)
        // A log-in that overlaps the call may fail.
        .catch((error: unknown) => (isCalled ? false : Promise.reject(error as Error)));
      if (isMade) resolved.push(record.id);
      if (resolved.length >= FLOOD_LANES) started();
      await nextTurn();
    }
  };
  const flood = Promise.all(Array.from({ length: FLOOD_LANES }, lane));
  // If the log-ins fail, that is the failure to report.
  await Promise.race([isUnderWay, flood]);
  const before = [...older.map(({ id }) => id), ...resolved];
  isCalled = true;
  const ended = await endAll(backend, principal, spared.id).finally(() => (isAnswered = true));
  await flood;
  assert.ok(begun < FLOOD_END, `deleteByPrincipal did not answer while ${FLOOD_END} sessions were made`);
  for (const id of before) {
    assert.ok(ended.includes(id), `a session that was there before the call is not named as ended: ${id}`);
    await assertAbsent(backend, id, 'although its user was logged out everywhere');
  }
  await assertStored(backend, spared, 'although it was spared');
  for (const id of ended) await assertAbsent(backend, id, 'although it was named as ended');
  const alive = resolved.filter(id => !ended.includes(id));
  await assertListed(backend, principal, [spared.id, ...alive]);
  await backend.deleteByPrincipal(principal);
  for (const id of [spared.id, ...alive]) await assertAbsent(backend, id, 'after another revocation');
}

function count(outcomes: readonly string[]): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const outcome of outcomes) counts[outcome] = (counts[outcome] ?? 0) + 1;
  return counts;
}
