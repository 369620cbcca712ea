import assert from 'node:assert/strict';
import { performance } from 'node:perf_hooks';
import type { SessionBackend } from '../../core/backend.js';
import type { SessionNews, SessionWatch } from '../../core/news.js';
import { endsAll } from '../../core/ends-all.js';
import { inParallel, inTurn, nextTurn, type Bench, type Sections } from './case.js';
import { create, endAll, HOUR, MINUTE, rotated, START } from './records.js';

/** The longest time in milliseconds for news that are under way, on a busy machine. */
const PATIENCE = 30_000;

/** The number of log-ins at a time: a backend with a few connections stores that many within its deadline. */
const AT_ONCE = 50;

/** Leaves a case out for a backend that cannot be watched. */
export function ifWatched(check: (bench: Bench) => Promise<void>): (bench: Bench) => Promise<void> {
  return async bench => {
    if (bench.backend.watch) await check(bench);
  };
}

/** A watch, and what it was told. */
class Reader {
  readonly changed: string[] = [];
  readonly watch: SessionWatch;
  lost = 0;

  constructor(backend: SessionBackend) {
    const watch = backend.watch?.((news: SessionNews) => {
      if (news.is === 'lost') this.lost++;
      else this.changed.push(news.id);
    });
    assert.ok(watch);
    this.watch = watch;
  }

  /** Waits until all is known that happened up to now. */
  async catchUp(what: string): Promise<void> {
    const now = performance.now();
    while (this.watch.knownUntil() < now) {
      assert.ok(
        performance.now() - now < PATIENCE,
        `${what}: knownUntil() stays ${now - this.watch.knownUntil()} ms behind`,
      );
      await nextTurn();
    }
  }

  /** Waits for the news of a change, which may come before `knownUntil` has moved on, and at the latest then. */
  async assertTold(id: string, what: string): Promise<void> {
    const now = performance.now();
    const isTold = (): boolean => this.changed.includes(id) || this.lost > 0;
    while (!isTold()) {
      // A look that makes all known may itself bring the news.
      const isKnown = this.watch.knownUntil() >= now;
      assert.ok(isTold() || !isKnown, `no news of ${what}`);
      assert.ok(performance.now() - now < PATIENCE, `${what}: neither news nor the end of the waiting for them`);
      await nextTurn();
    }
  }

  forget(): void {
    this.changed.length = 0;
    this.lost = 0;
  }
}

export async function watching(backend: SessionBackend, check: (reader: Reader) => Promise<void>): Promise<void> {
  const reader = new Reader(backend);
  try {
    await reader.catchUp('a new watch');
    reader.forget();
    await check(reader);
  } finally {
    reader.watch();
  }
}

/** Each way to end or change a session, by its name. */
const CHANGES: Readonly<Record<string, (backend: SessionBackend, id: string) => Promise<unknown>>> = {
  delete: (backend, id) => backend.delete(id),
  deleteByPrincipal: (backend, id) => endAll(backend, `user of ${id}`),
};

export const news: Sections = {
  watch: {
    'tells of sessions that are ended and changed, whichever handle did it: 20 rounds': ifWatched(
      async ({ backend, handles }) =>
        watching(backend, async reader => {
          for (let round = 0; round < 20; round++) {
            const writer = inTurn(handles, round);
            for (const [what, end] of Object.entries(CHANGES)) {
              const record = await create(writer, { id: `${what}-${round}` });
              const own = { ...record, principal: `user of ${record.id}` };
              reader.forget();
              assert.equal(await writer.update(own, 1), 'updated');
              await reader.assertTold(record.id, 'an update');
              reader.forget();
              assert.equal(await writer.update(rotated(own), 2), 'updated');
              await reader.assertTold(record.id, 'a rotation');
              reader.forget();
              await end(writer, record.id);
              await reader.assertTold(record.id, what);
            }
          }
        }),
    ),
    'tells of each of 1,000 sessions of one user that end at once, but not of the one that is spared': ifWatched(
      async ({ backend, handles }) =>
        watching(backend, async reader => {
          const ended: string[] = [];
          const spared = await create(backend, { principal: 'ada' });
          await inParallel(1000, AT_ONCE, async () => {
            ended.push((await create(backend, { principal: 'ada' })).id);
          });
          await reader.catchUp('log-ins');
          reader.forget();
          await endAll(inTurn(handles, 1), 'ada', spared.id);
          await reader.catchUp('the end of 1,000 sessions');
          if (reader.lost > 0) return;
          const told = new Set(reader.changed);
          assert.deepEqual(
            ended.filter(id => !told.has(id)),
            [],
            'sessions that were ended without news',
          );
          assert.ok(!told.has(spared.id), 'news of the one that was spared');
        }),
    ),
    'tells of everybody’s end': ifWatched(async ({ backend, handles }) =>
      watching(backend, async reader => {
        const ids: string[] = [];
        await inParallel(300, AT_ONCE, async () => {
          ids.push((await create(backend, { createdAt: START - HOUR })).id);
        });
        await reader.catchUp('log-ins');
        reader.forget();
        if (!handles.every(endsAll)) return;
        await inTurn(handles, 1).deleteAll(START);
        await reader.catchUp('the end of 300 sessions');
        const told = new Set(reader.changed);
        assert.ok(reader.lost > 0 || ids.every(id => told.has(id)), `${told.size} of 300 endings were told`);
      }),
    ),
    'names any id as it is': ifWatched(async ({ backend, handles }) =>
      watching(backend, async reader => {
        for (const id of [
          '',
          '__proto__',
          'a b',
          '\'\\"\n\0',
          '\ud800',
          'é',
          'É',
          'x'.repeat(1024),
          '{"is":"lost"}',
          '*',
        ]) {
          await create(backend, { id });
          reader.forget();
          await inTurn(handles, 1).delete(id);
          await reader.assertTold(id, `the end of ${JSON.stringify(id)}`);
        }
      }),
    ),
    'what came to nothing is no news of loss': ifWatched(async ({ backend }) =>
      watching(backend, async reader => {
        const record = await create(backend);
        assert.equal(await backend.update(record, 7), 'conflict');
        assert.equal(await backend.delete('nobody'), false);
        await backend.touch(record.id, START + MINUTE, START + 2 * HOUR);
        await reader.catchUp('nothing');
        assert.equal(reader.lost, 0);
      }),
    ),
    'never counts as known what was not told: 100 endings against as many looks': ifWatched(
      async ({ backend, handles, random }) =>
        watching(backend, async reader => {
          for (let round = 0; round < 100; round++) {
            const { id } = await create(backend);
            reader.forget();
            for (let turns = random.integer(4); turns > 0; turns--) await nextTurn();
            const ending = random.pick(handles).delete(id);
            // Looks meanwhile: what they call known after the end was answered has been told.
            const end = { isOver: false };
            const looking = (async () => {
              while (!end.isOver) {
                reader.watch.knownUntil();
                await nextTurn();
              }
            })();
            await ending;
            end.isOver = true;
            await looking;
            await reader.assertTold(id, `an end (seed ${random.seed})`);
          }
        }),
    ),
    'several watch at once, and one that has ended gets nothing': ifWatched(async ({ backend }) => {
      const [first, second] = [new Reader(backend), new Reader(backend)];
      await first.catchUp('the first of two watches');
      await second.catchUp('the second of two watches');
      first.watch();
      first.watch();
      first.forget();
      second.forget();
      assert.equal(first.watch.knownUntil(), -Infinity, 'knownUntil() of a watch that has ended');
      const { id } = await create(backend);
      await backend.delete(id);
      await second.assertTold(id, 'an end, beside a watch that is over');
      assert.deepEqual([first.changed, first.lost], [[], 0]);
      second.watch();
      // Begins anew.
      await watching(backend, async reader => {
        const later = await create(backend);
        await backend.delete(later.id);
        await reader.assertTold(later.id, 'an end, to a watch after the last one');
      });
    }),
    'a closed backend knows nothing': ifWatched(async ({ backend }) => {
      const reader = new Reader(backend);
      await reader.catchUp('a watch');
      await backend.close();
      assert.equal(reader.watch.knownUntil(), -Infinity);
      reader.watch();
    }),
  },
};
