import type { SessionBackend, WriteOutcome } from '../../core/backend.js';
import type { RecordHead } from '../../core/inventory.js';
import { mostCounted, mostEnded, type SessionLimit } from '../../core/limit.js';
import type { SessionRecord } from '../../core/record.js';
import { textOf, textsOf, type RedisNodeClient } from './client.js';
import {
  decode,
  encode,
  hashPrincipal,
  headsFrom,
  idOfMember,
  memberOf,
  newNonce,
  principalOf,
  ttlOf,
  type Layout,
} from './layout.js';
import { inSlices, latest } from './latest.js';
import type { Script } from './script.js';
import { headTexts, together } from './scripts.js';

/** The operations of `RedisBackend` that depend on the topology: one server, or a cluster. */
export type RedisStore = Omit<SessionBackend, 'close' | 'forgetsByItself' | 'deleteExpired' | 'deleteAll'> & {
  /** Removes the expired ones of the named records, and returns their number. */
  expire(members: string[], now: number): Promise<number>;
  /** Ends those of the named records that were made before an instant, and returns their ids. */
  endMadeBefore(members: string[], before: number): Promise<string[]>;
  /** Returns the heads of the named records. */
  heads(members: string[]): Promise<RecordHead[]>;
};

/** All keys on one server (perhaps with replicas): each operation is one command, and so atomic. */
export class SingleStore implements RedisStore {
  readonly #client: RedisNodeClient;
  readonly #layout: Layout;

  constructor(client: RedisNodeClient, layout: Layout) {
    this.#client = client;
    this.#layout = layout;
  }

  async create(record: SessionRecord, limit?: SessionLimit): Promise<boolean> {
    const args = [memberOf(record.id), encode(record), ttlOf(record), principalOf(record), record.createdAt];
    if (limit && record.principal !== undefined) args.push(...limitArguments(limit));
    for (;;) {
      const answer = await together.create.run(this.#client, [this.#layout.recordKey(record.id)], args);
      const [state, ...names] = textsOf(answer);
      if (state === 'gone') limit?.onDecided(names.map(idOfMember));
      if (state === 'full') limit?.onDecided('full');
      if (state !== 'more') return state === 'gone';
      args.push(...names);
    }
  }

  async read(id: string): Promise<SessionRecord | undefined> {
    const text = textOf(await this.#client.get(this.#layout.recordKey(id)));
    return text === undefined ? undefined : decode(id, text);
  }

  async update(record: SessionRecord, expectedVersion: number): Promise<WriteOutcome> {
    const text = encode({ ...record, version: expectedVersion + 1 });
    const args = [memberOf(record.id), text, ttlOf(record), principalOf(record), record.createdAt, expectedVersion];
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

  async listByPrincipal(principal: string, limit = Infinity): Promise<SessionRecord[]> {
    const hash = hashPrincipal(principal);
    return latest(limit, async count => {
      const [names, texts] = await this.#ofIndex(together.list, hash, [hash, count]);
      const members = textsOf(names);
      const found = new Map<string, string | undefined>(textsOf(texts).map((text, n) => [members[n] ?? '', text]));
      await inSlices(members.slice(found.size), async member => {
        found.set(member, textOf(await this.#client.get(this.#layout.prefix + member)));
      });
      const records = [...found].filter(([, text]) => text?.startsWith(`${hash} `));
      return {
        records: records.map(([member, text]) => decode(idOfMember(member), text ?? '')),
        isAll: members.length < count,
      };
    });
  }

  async deleteByPrincipal(
    principal: string,
    exceptId?: string,
    onEnded?: (ids: readonly string[]) => void,
  ): Promise<string[]> {
    const hash = hashPrincipal(principal);
    const all: string[] = [];
    const note = (names: unknown): void => {
      const ids = textsOf(names).map(idOfMember);
      all.push(...ids);
      onEnded?.(ids);
    };
    const spared = exceptId === undefined ? [] : [memberOf(exceptId)];
    const [ended, nonces] = await this.#ofIndex(together.revoke, hash, [hash, newNonce(), ...spared]);
    note(ended);
    for (const nonce of textsOf(nonces)) {
      for (let left = 1; left > 0;) {
        const [more, remaining] = await this.#ofIndex(together.goOn, hash, [hash, nonce]);
        note(more);
        left = Number(remaining);
      }
    }
    return all;
  }

  async expire(members: string[], now: number): Promise<number> {
    if (members.length === 0) return 0;
    const keys = members.map(member => this.#layout.prefix + member);
    return Number(await together.expire.run(this.#client, keys, [now, ...members]));
  }

  async endMadeBefore(members: string[], before: number): Promise<string[]> {
    // The key comes first so that a replica refuses the script, even if it has no record to end.
    const keys = [`${this.#layout.prefix}primary`, ...members.map(member => this.#layout.prefix + member)];
    return textsOf(await together.endMadeBefore.run(this.#client, keys, [before, ...members])).map(idOfMember);
  }

  async heads(members: string[]): Promise<RecordHead[]> {
    if (members.length === 0) return [];
    const keys = members.map(member => this.#layout.prefix + member);
    return headsFrom(members, textsOf(await headTexts.run(this.#client, keys, [])));
  }

  /** Runs a script on an index, and returns its two results. */
  async #ofIndex(script: Script, hash: string, args: (string | number)[]): Promise<[unknown, unknown]> {
    return (await script.run(this.#client, [this.#layout.indexKey(hash)], args)) as [unknown, unknown];
  }
}

/** Returns the arguments of `MAKE_ROOM`. */
function limitArguments(limit: SessionLimit): (string | number)[] {
  const { most, except, livesAfter } = limit;
  const instants = [livesAfter.expiresAt, livesAfter.createdAt, livesAfter.lastSeenAt];
  return [most, mostCounted(limit), mostEnded(limit), ...instants, ...except.map(memberOf)];
}
