import { InMemoryBackend, type SessionRecord } from 'routing-controllers-sessions';

import { Undo } from '../../src/session/undo.js';
import { type Effect, InterceptedBackend } from '../support/intercepted-backend.js';
import { until } from '../support/engines.js';

const record = (id: string, version = 1): SessionRecord => ({
  id,
  data: '{}',
  version,
  createdAt: 1_000,
  authenticatedAt: 1_000,
  lastSeenAt: 1_000,
  expiresAt: 61_000,
});

/** A store that can be away, or keep a call waiting. */
class Store extends InterceptedBackend {
  isAway = false;
  tried = 0;
  hold: ((call: Effect['call']) => Promise<void> | undefined) | undefined;

  constructor(readonly records = new InMemoryBackend()) {
    super(() => records);
  }

  protected async intercept<R>(call: Effect['call'], act: () => Promise<R>): Promise<R> {
    this.tried++;
    if (this.isAway) throw new Error('away');
    await this.hold?.(call);
    return act();
  }
}

function undoOn(store: Store): Undo {
  const undo: Undo = new Undo(async (_operation, run) => {
    const answer = await run(store);
    undo.catchUp();
    return answer;
  });
  return undo;
}

describe('Undo', () => {
  test('1,000 records that could not be removed are, as soon as the store answers anybody', async () => {
    const store = new Store();
    const undo = undoOn(store);
    const ids = Array.from({ length: 1_000 }, (_, n) => `orphan ${n}`);
    for (const id of ids) await store.create(record(id));
    store.isAway = true;
    store.tried = 0;
    for (const id of ids) undo.forget(id);
    await until(() => store.tried === 1_000, 'the attempts');
    expect(store.records.size).toBe(1_000);

    store.isAway = false;
    expect(store.records.size).toBe(1_000);
    undo.forget('of another log-in');
    await until(() => store.records.size === 0, 'the end of all orphans');
    expect(store.tried).toBe(2_001);
  });

  test('of more than 10,000, the oldest are left to their timeout', async () => {
    const store = new Store();
    const undo = undoOn(store);
    const ids = Array.from({ length: 10_003 }, (_, n) => `orphan ${n}`);
    for (const id of ids) await store.create(record(id));
    store.isAway = true;
    store.tried = 0;
    for (const id of ids) undo.forget(id);
    await until(() => store.tried === ids.length, 'the attempts');
    store.isAway = false;
    undo.forget('of another log-in');
    await until(() => store.records.size === 3, 'the end of the other orphans');
    for (const id of ids.slice(0, 3)) expect(await store.records.read(id)).toBeDefined();
  });

  test('a rotation is taken back', async () => {
    const store = new Store();
    await store.create(record('new', 2));
    undoOn(store).takeBack('old', record('new', 2));
    await until(async () => (await store.records.read('old')) !== undefined, 'the old id');
    expect(store.records.size).toBe(1);
    expect((await store.records.read('old'))!.version).toBe(3);
  });

  test('what is left of a rotation that could not be taken back is removed, and the old id stays dead', async () => {
    const store = new Store();
    const undo = undoOn(store);
    await store.create(record('new', 2));
    store.isAway = true;
    store.tried = 0;
    undo.takeBack('old', record('new', 2));
    await until(() => store.tried === 2, 'both attempts');
    store.isAway = false;
    undo.forget('of another log-in');
    await until(() => store.records.size === 0, 'the end of the new record');
  });

  test('a session that was ended while its rotation was being taken back does not stay', async () => {
    const store = new Store();
    const undo = undoOn(store);
    await store.create(record('new', 2));
    let release = (): void => undefined;
    const held = new Promise<void>(resolve => (release = resolve));
    store.hold = call => (call === 'replace' ? held : undefined);
    undo.takeBack('old', record('new', 2));
    undo.noteEnded('old');
    expect(await store.delete('old')).toBe(false);
    release();
    await until(() => store.records.size === 0, 'the end of what came back');
  });

  test('a session that was ended before is not ended by a rotation that is taken back later', async () => {
    const store = new Store();
    const undo = undoOn(store);
    undo.noteEnded('old');
    await store.create(record('new', 2));
    undo.takeBack('old', record('new', 2));
    await until(async () => (await store.records.read('old')) !== undefined, 'the old id');
    undo.forget('another');
    await until(() => store.tried === 3, 'the removal of another');
    expect(store.records.size).toBe(1);
  });
});
