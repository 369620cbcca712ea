import { mkdirSync } from 'node:fs';

import { ClassicLevel } from 'classic-level';
import { SessionBackend, type SessionRecord, type WriteOutcome } from 'routing-controllers-sessions';

/** The answer of a change, and the records that it removes and adds. */
type Change<T> = [answer: T, removed?: SessionRecord[], added?: SessionRecord[]];

/** The number of records that one step removes, so that others get their turn between two steps. */
const BATCH = 500;

/** Sessions in LevelDB, in a folder that one process opens at a time. */
export class LevelBackend extends SessionBackend {
  /** Records by id; indexes by principal and by expiry. Keys and values are JSON, so that any string can be part of one. */
  readonly #db: ClassicLevel;
  #lastChange: Promise<unknown> = Promise.resolve();

  private constructor(readonly folder: string) {
    super();
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    this.#db = new ClassicLevel(folder);
  }

  /** Rejects when another process has the folder open. */
  static async open(folder: string): Promise<LevelBackend> {
    const backend = new LevelBackend(folder);
    await backend.#db.open();
    return backend;
  }

  create(record: SessionRecord): Promise<boolean> {
    const added = { ...record };
    return this.#change(async () => ((await this.read(added.id)) ? [false] : [true, [], [added]]));
  }

  async read(id: string): Promise<SessionRecord | undefined> {
    const json = await this.#db.get(recordKey(id));
    return json === undefined ? undefined : (JSON.parse(json) as SessionRecord);
  }

  update(record: SessionRecord, expectedVersion: number): Promise<WriteOutcome> {
    const added = { ...record, version: expectedVersion + 1 };
    return this.#change(async () => {
      const stored = await this.read(added.id);
      if (!stored) return ['gone'];
      return stored.version === expectedVersion ? ['updated', [stored], [added]] : ['conflict'];
    });
  }

  touch(id: string, lastSeenAt: number, expiresAt: number): Promise<boolean> {
    return this.#change(async () => {
      const stored = await this.read(id);
      if (!stored || lastSeenAt <= stored.lastSeenAt) return [stored !== undefined];
      return [true, [stored], [{ ...stored, lastSeenAt, expiresAt }]];
    });
  }

  delete(id: string): Promise<boolean> {
    return this.#change(async () => {
      const stored = await this.read(id);
      return stored ? [true, [stored]] : [false];
    });
  }

  listByPrincipal(principal: string, limit?: number): Promise<SessionRecord[]> {
    return this.#change(async () => [await this.#ofPrincipal(principal, limit)]);
  }

  /** The last step finds less than a batch, and leaves none: that is the instant at which all are ended. */
  async deleteByPrincipal(
    principal: string,
    exceptId?: string,
    onEnded?: (ids: readonly string[]) => void,
  ): Promise<string[]> {
    const all: string[] = [];
    for (;;) {
      const found = await this.#change(async () => {
        const records = await this.#ofPrincipal(principal, BATCH + 1);
        const ended = records.filter(({ id }) => id !== exceptId);
        return [{ count: records.length, ids: ended.map(({ id }) => id) }, ended];
      });
      all.push(...found.ids);
      onEnded?.(found.ids);
      if (found.count <= BATCH) return all;
    }
  }

  deleteExpired(now: number): Promise<number> {
    const expired = { gte: 'expiry:', lt: expiryKey(Math.floor(now) + 1), limit: BATCH };
    return this.#inSteps(async () => {
      const records = await this.#indexed(expired);
      return { records, isLast: records.length < BATCH };
    });
  }

  override deleteAll(before: number): Promise<number> {
    let from = 'record:';
    return this.#inSteps(async () => {
      const entries = await this.#db.iterator({ gt: from, lt: 'record:~', limit: BATCH }).all();
      from = entries.at(-1)?.[0] ?? from;
      const records = entries.map(([, json]) => JSON.parse(json) as SessionRecord);
      return { records: records.filter(({ createdAt }) => createdAt < before), isLast: entries.length < BATCH };
    });
  }

  close(): Promise<void> {
    return this.#change(async () => {
      await this.#db.close();
      return [undefined];
    });
  }

  /** Removes what `next` finds, step after step, and returns the number. */
  async #inSteps(next: () => Promise<{ records: SessionRecord[]; isLast: boolean }>): Promise<number> {
    for (let removed = 0; ;) {
      const step = await this.#change(async () => {
        const { records, isLast } = await next();
        return [{ count: records.length, isLast }, records];
      });
      removed += step.count;
      if (step.isLast) return removed;
    }
  }

  /**
   * Runs one change after another, because LevelDB writes several keys in one step, but not under a condition. Each is written
   * completely or not at all, and reaches the disk.
   */
  #change<T>(decide: () => Promise<Change<T>>): Promise<T> {
    const change = this.#lastChange.then(async () => {
      const [answer, removed = [], added = []] = await decide();
      const deletions = removed.flatMap(entriesOf).map(([key]) => ({ type: 'del' as const, key }));
      const additions = added.flatMap(entriesOf).map(([key, value]) => ({ type: 'put' as const, key, value }));
      if (removed.length + added.length > 0) await this.#db.batch([...deletions, ...additions], { sync: true });
      return answer;
    });
    this.#lastChange = change.catch(() => undefined);
    return change;
  }

  /** The latest log-in first. */
  #ofPrincipal(principal: string, limit = Infinity): Promise<SessionRecord[]> {
    const prefix = `principal:${JSON.stringify(principal)}`;
    return this.#indexed({ gte: prefix, lt: `${prefix}~`, limit, reverse: true });
  }

  async #indexed(range: { gte: string; lt: string; limit: number; reverse?: boolean }): Promise<SessionRecord[]> {
    const ids = await this.#db.values(range).all();
    const records = await Promise.all(ids.map(id => this.read(JSON.parse(id) as string)));
    return records.filter(record => record !== undefined);
  }
}

/** The keys and values of a record and of its places in the indexes. */
function entriesOf(record: SessionRecord): [key: string, value: string][] {
  const id = JSON.stringify(record.id);
  const entries: [string, string][] = [
    [recordKey(record.id), JSON.stringify(record)],
    [expiryKey(Math.ceil(record.expiresAt)) + id, id],
  ];
  const { principal, createdAt } = record;
  if (principal !== undefined)
    entries.push([`principal:${JSON.stringify(principal)}${instantKey(createdAt)}${id}`, id]);
  return entries;
}

const recordKey = (id: string) => `record:${JSON.stringify(id)}`;

/** Padded, so that the order of the text is that of the numbers. */
const instantKey = (instant: number) => `${String(Math.max(0, instant)).padStart(16, '0')}:`;

const expiryKey = (instant: number) => `expiry:${instantKey(instant)}`;
