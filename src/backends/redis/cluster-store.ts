import type { WriteOutcome } from '../../core/backend.js';
import type { SessionRecord } from '../../core/record.js';
import { textOf, textsOf, type RedisClusterClient } from './client.js';
import {
  decode,
  encode,
  hashPrincipal,
  idOfMember,
  memberOf,
  NO_PRINCIPAL,
  principalOf,
  ttlOf,
  type Layout,
} from './layout.js';
import { apart, ENDING } from './scripts.js';
import type { Script } from './script.js';
import type { RedisStore } from './single-store.js';

/**
 * Records and indexes spread over a cluster: two keys never change in one step, so that the order of the steps has to do.
 *
 * **Index.** A record is named in its principal's index before it is written, and stays named until it is gone; the index
 * may name what is not there. A revocation first marks the names, then ends the records, then removes the marked names. A
 * log-in that finds its name marked or gone after it wrote its record came too late: it removes the record and fails. A
 * revocation that dies half-way leaves marked names behind, which the next one ends.
 *
 * **Rotation.** The new record is written as *pending* on the old id. Then the old record is overwritten, in one step, with
 * the new id it has *moved* to: from that instant on, and not before, the new one counts. Whoever meets a pending record
 * looks at the old id to know. Then the new one is settled, and what is left of the old one removed, in this order, so that
 * a pending record whose old id is gone was never moved to.
 */
export class ClusterStore implements RedisStore {
  readonly #client: RedisClusterClient;
  readonly #layout: Layout;

  constructor(client: RedisClusterClient, layout: Layout) {
    this.#client = client;
    this.#layout = layout;
  }

  async create(record: SessionRecord): Promise<boolean> {
    const [member, principal, ttl] = [memberOf(record.id), principalOf(record), ttlOf(record)];
    await this.#index(principal, member, ttl);
    const [state] = await this.#run(apart.create, record.id, [encode(record), ttl, principal]);
    if (state !== 'gone') return false;
    if (
      principal !== NO_PRINCIPAL &&
      (await apart.isNamed.run(this.#client, [this.#layout.indexKey(principal)], [member])) !== 1
    ) {
      await this.#run(apart.remove, record.id, []);
      throw new Error('All sessions of this principal were ended while this one was made: it was not kept');
    }
    return true;
  }

  async read(id: string): Promise<SessionRecord | undefined> {
    const text = await this.#load(id);
    return text === undefined ? undefined : decode(id, text);
  }

  async update(record: SessionRecord, expectedVersion: number): Promise<WriteOutcome> {
    const [member, principal, ttl] = [memberOf(record.id), principalOf(record), ttlOf(record)];
    const text = encode({ ...record, version: expectedVersion + 1 });
    await this.#index(principal, member, ttl);
    const [outcome, before] = await this.#run(apart.update, record.id, [text, ttl, principal, expectedVersion]);
    if (outcome === 'updated' && before !== principal) {
      // A revocation may have removed the name while the record was still somebody else's.
      await this.#index(principal, member, ttl);
      await this.#unindex(before, member);
    }
    return toOutcome(outcome);
  }

  async touch(id: string, lastSeenAt: number, expiresAt: number): Promise<boolean> {
    const text = await this.#load(id);
    if (text === undefined) return false;
    const ttl = ttlOf({ lastSeenAt, expiresAt });
    // The index first: a record must not outlive its name in there.
    await this.#index(text.slice(0, text.indexOf(' ')), memberOf(id), ttl);
    const [state] = await this.#run(apart.touch, id, [lastSeenAt, expiresAt, ttl]);
    return state === 'updated';
  }

  async replace(oldId: string, record: SessionRecord): Promise<WriteOutcome> {
    const [member, principal, ttl] = [memberOf(record.id), principalOf(record), ttlOf(record)];
    const [from, to] = [JSON.stringify(oldId), JSON.stringify(record.id)];
    await this.#index(principal, member, ttl);
    const [state] = await this.#run(apart.create, record.id, [`pending ${from}\n${encode(record)}`, ttl, principal]);
    if (state !== 'gone') return (await this.#load(oldId)) === undefined ? 'gone' : 'conflict';

    const [outcome, before] = await this.#run(apart.move, oldId, [record.version - 1, to, ttl]);
    if (outcome !== 'updated') {
      await this.#drop(record.id, 'pending', from);
      return toOutcome(outcome);
    }
    await this.#settle(record.id, from);
    // A revocation that met the new record before it counted has left it, but removed its name.
    await this.#index(principal, member, ttl);
    await this.#unindex(before, memberOf(oldId));
    await this.#drop(oldId, 'moved', to);
    return 'updated';
  }

  async delete(id: string): Promise<boolean> {
    const [state, principal] = await this.#run(apart.remove, id, []);
    if (state !== 'updated') return false;
    await this.#unindex(principal, memberOf(id));
    return true;
  }

  async listByPrincipal(principal: string): Promise<SessionRecord[]> {
    const key = this.#layout.indexKey(hashPrincipal(principal));
    const ids = new Set(textsOf(await apart.names.run(this.#client, [key], [])).map(idOfMember));
    const records = await Promise.all([...ids].map(id => this.read(id)));
    return records.filter(record => record !== undefined).filter(record => record.principal === principal);
  }

  async deleteByPrincipal(principal: string, exceptId?: string): Promise<string[]> {
    const hash = hashPrincipal(principal);
    const key = this.#layout.indexKey(hash);
    const spared = exceptId === undefined ? [] : [memberOf(exceptId)];
    const ended: string[] = [];
    for (;;) {
      // Again until there is nothing: a rotation may have named its new record after the last look.
      const members = textsOf(await apart.mark.run(this.#client, [key], spared));
      if (members.length === 0) return ended;
      const ids = await Promise.all(members.map(member => this.#end(idOfMember(member), hash)));
      ended.push(...ids.filter(id => id !== undefined));
      await this.#unindex(hash, ...members.map(member => ENDING + member));
    }
  }

  async expire(members: string[], now: number): Promise<number> {
    const expired = await Promise.all(members.map(member => this.#expire(member, now)));
    return expired.filter(Boolean).length;
  }

  async #expire(member: string, now: number): Promise<boolean> {
    const [state, principal] = await this.#run(apart.expire, idOfMember(member), [now]);
    if (state !== 'updated') return false;
    await this.#unindex(principal, member);
    return true;
  }

  /** Ends a record if it is that principal's, under whatever id it is by now. Answers that id. */
  async #end(id: string, principal: string): Promise<string | undefined> {
    const [state, other] = await this.#run(apart.remove, id, [principal]);
    if (state === 'updated') return id;
    return state === 'moved' && other !== undefined ? this.#end(JSON.parse(other) as string, principal) : undefined;
  }

  /** The text of a record that counts. */
  async #load(id: string): Promise<string | undefined> {
    const text = textOf(await this.#client.get(this.#layout.recordKey(id)));
    if (text?.startsWith('pending ')) return this.#loadPending(id, text);
    return text?.startsWith('moved ') ? undefined : text;
  }

  async #loadPending(id: string, text: string): Promise<string | undefined> {
    const lineEnd = text.indexOf('\n');
    const from = text.slice('pending '.length, lineEnd);
    const old = textOf(await this.#client.get(this.#layout.recordKey(JSON.parse(from) as string)));
    if (old === `moved ${JSON.stringify(id)}`) {
      await this.#settle(id, from);
      return text.slice(lineEnd + 1);
    }
    // Settled, and the old one removed, since it was looked at first; or there was no rotation, and may never be.
    const now = textOf(await this.#client.get(this.#layout.recordKey(id)));
    return now === undefined || now.startsWith('pending ') || now.startsWith('moved ') ? undefined : now;
  }

  /** Runs a script that changes a record, after finding out about it if it is pending. */
  async #run(script: Script, id: string, args: (string | number)[]): Promise<(string | undefined)[]> {
    const attempt = async (): Promise<string[]> =>
      textsOf(await script.run(this.#client, [this.#layout.recordKey(id)], [memberOf(id), ...args]));
    const answer = await attempt();
    if (answer[0] !== 'pending') return answer;
    return (await this.#load(id)) === undefined ? ['gone'] : attempt();
  }

  async #settle(id: string, from: string): Promise<void> {
    await apart.settle.run(this.#client, [this.#layout.recordKey(id)], [from]);
  }

  async #drop(id: string, state: 'pending' | 'moved', other: string): Promise<void> {
    await apart.drop.run(this.#client, [this.#layout.recordKey(id)], [state, other]);
  }

  async #index(principal: string | undefined, member: string, ttl: number): Promise<void> {
    if (principal === undefined || principal === NO_PRINCIPAL) return;
    await apart.index.run(this.#client, [this.#layout.indexKey(principal)], [member, ttl]);
  }

  async #unindex(principal: string | undefined, ...members: string[]): Promise<void> {
    if (principal === undefined || principal === NO_PRINCIPAL) return;
    await apart.unindex.run(this.#client, [this.#layout.indexKey(principal)], members);
  }
}

/** A record that has moved is gone from its old id. */
function toOutcome(state: string | undefined): WriteOutcome {
  return state === 'updated' || state === 'conflict' ? state : 'gone';
}
