import type { SessionBackend, WriteOutcome } from '../../core/backend.js';
import type { SessionRecord } from '../../core/record.js';
import { textOf, textsOf, type RedisNodeClient } from './client.js';
import { decode, encode, hashPrincipal, idOfMember, memberOf, principalOf, ttlOf, type Layout } from './layout.js';
import { together } from './scripts.js';

/** The operations of `RedisBackend` that depend on the topology: one server, or a cluster. */
export type RedisStore = Omit<SessionBackend, 'close' | 'forgetsByItself' | 'deleteExpired'> & {
  /** Removes the expired ones of the named records, and returns their number. */
  expire(members: string[], now: number): Promise<number>;
};

/** All keys on one server (perhaps with replicas): each operation is one command, and so atomic. */
export class SingleStore implements RedisStore {
  readonly #client: RedisNodeClient;
  readonly #layout: Layout;

  constructor(client: RedisNodeClient, layout: Layout) {
    this.#client = client;
    this.#layout = layout;
  }

  async create(record: SessionRecord): Promise<boolean> {
    const args = [memberOf(record.id), encode(record), ttlOf(record), principalOf(record)];
    const [state] = textsOf(await together.create.run(this.#client, [this.#layout.recordKey(record.id)], args));
    return state === 'gone';
  }

  async read(id: string): Promise<SessionRecord | undefined> {
    const text = textOf(await this.#client.get(this.#layout.recordKey(id)));
    return text === undefined ? undefined : decode(id, text);
  }

  async update(record: SessionRecord, expectedVersion: number): Promise<WriteOutcome> {
    const text = encode({ ...record, version: expectedVersion + 1 });
    const args = [memberOf(record.id), text, ttlOf(record), principalOf(record), expectedVersion];
    const [outcome] = textsOf(await together.update.run(this.#client, [this.#layout.recordKey(record.id)], args));
    return outcome as WriteOutcome;
  }

  async touch(id: string, lastSeenAt: number, expiresAt: number): Promise<boolean> {
    const args = [memberOf(id), lastSeenAt, expiresAt, ttlOf({ lastSeenAt, expiresAt })];
    const [state] = textsOf(await together.touch.run(this.#client, [this.#layout.recordKey(id)], args));
    return state === 'updated';
  }

  async delete(id: string): Promise<boolean> {
    const [state] = textsOf(await together.remove.run(this.#client, [this.#layout.recordKey(id)], [memberOf(id)]));
    return state === 'updated';
  }

  async listByPrincipal(principal: string): Promise<SessionRecord[]> {
    const hash = hashPrincipal(principal);
    const found = textsOf(await together.list.run(this.#client, [this.#layout.indexKey(hash)], [hash]));
    const records: SessionRecord[] = [];
    for (let n = 0; n + 1 < found.length; n += 2) {
      records.push(decode(idOfMember(found[n] ?? ''), found[n + 1] ?? ''));
    }
    return records;
  }

  async deleteByPrincipal(principal: string, exceptId?: string): Promise<string[]> {
    const hash = hashPrincipal(principal);
    const args = exceptId === undefined ? [hash] : [hash, memberOf(exceptId)];
    return textsOf(await together.revoke.run(this.#client, [this.#layout.indexKey(hash)], args)).map(idOfMember);
  }

  async expire(members: string[], now: number): Promise<number> {
    if (members.length === 0) return 0;
    const keys = members.map(member => this.#layout.prefix + member);
    return Number(await together.expire.run(this.#client, keys, [now, ...members]));
  }
}
