import { InMemoryBackend } from 'routing-controllers-sessions';

import { Orphans } from '../../src/session/orphans.js';
import { until } from '../support/engines.js';
import { InterceptedBackend } from '../support/intercepted-backend.js';
import { sessionRecord } from '../support/session-record.js';

/** A store that can be away. */
class Store extends InterceptedBackend {
  isAway = false;
  tried = 0;

  constructor(readonly records = new InMemoryBackend()) {
    super(() => records);
  }

  protected intercept<R>(_call: unknown, act: () => Promise<R>): Promise<R> {
    this.tried++;
    return this.isAway ? Promise.reject(new Error('away')) : act();
  }
}

/** A store with orphans in it that could not be ended, because it was away. */
async function storeWith(count: number): Promise<{ store: Store; orphans: Orphans; ids: string[] }> {
  const store = new Store();
  const orphans: Orphans = new Orphans(async (_operation, _id, run) => {
    const answer = await run(store);
    orphans.catchUp();
    return answer;
  });
  const ids = Array.from({ length: count }, (_, n) => `orphan ${n}`);
  for (const id of ids) await store.create(sessionRecord({ id }));
  store.isAway = true;
  store.tried = 0;
  await Promise.all(ids.map(id => orphans.end(id)));
  expect(store.tried).toBe(count);
  expect(store.records.size).toBe(count);
  store.isAway = false;
  return { store, orphans, ids };
}

describe('Orphans.end', () => {
  test('reports whether this call ended the session', async () => {
    const { store, orphans } = await storeWith(0);
    await store.create(sessionRecord({ id: 'orphan' }));
    await expect(orphans.end('orphan')).resolves.toBe(true);
    await expect(orphans.end('orphan')).resolves.toBe(false);
  });

  test('1,000 orphans are ended as soon as the store answers any call', async () => {
    const { store, orphans } = await storeWith(1_000);
    await orphans.end('of another log-in');
    await until(() => store.records.size === 0, 'the end of all orphans');
    expect(store.tried).toBe(2_001);
  });

  test('of more than 10,000, the oldest are left to their timeout', async () => {
    const { store, orphans, ids } = await storeWith(10_003);
    await orphans.end('of another log-in');
    await until(() => store.records.size === 3, 'the end of the other orphans');
    for (const id of ids.slice(0, 3)) expect(await store.records.read(id)).toBeDefined();
  });
});
