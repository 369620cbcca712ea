import type { WriteOutcome } from '../../core/backend.js';
import type { RecordHead } from '../../core/inventory.js';
import { answerOf, type SessionLimit } from '../../core/limit.js';
import type { SessionRecord } from '../../core/record.js';
import { textOf, textsOf, type RedisClusterClient } from './client.js';
import {
  decode,
  encode,
  FENCES,
  hashPrincipal,
  headsFrom,
  idOfMember,
  memberOf,
  newNonce,
  NO_PRINCIPAL,
  principalOf,
  ttlOf,
  type Layout,
} from './layout.js';
import { inSlices, latest } from './latest.js';
import type { Script } from './script.js';
import { apart } from './cluster-scripts.js';
import { Places } from './places.js';
import { headTexts } from './scripts.js';
import type { RedisStore } from './single-store.js';

type IndexedRecord = Pick<SessionRecord, 'id' | 'createdAt'>;

/** The most times that a touch follows a record to another principal. */
const ATTEMPTS = 10;

/**
 * Records and indexes spread over a cluster. Two keys never change in one step, so that the order of the steps matters.
 *
 * A record is added to its principal's index before it is written, and stays there until it is gone. Its entry is removed
 * only by a caller that removed the record, or found it gone for good, or after the longest time that any record of that name can
 * live. So the index has an entry for every record of the principal at every instant. It may have entries for records that are
 * gone, not written yet, or of another principal: those are skipped. A limit of sessions is decided on by the index: see
 * {@link Places}.
 *
 * A revocation reads the index in one step, which is its instant, and ends the records listed there. It reads once, because a
 * record that is added later belongs to a log-in that counts as later. Where the index has many entries, they are not read in
 * that step, but set aside. A revocation that dies half-way leaves the entries of the records that remain, and the next one
 * ends them.
 */
export class ClusterStore implements RedisStore {
  readonly #client: RedisClusterClient;
  readonly #layout: Layout;
  readonly #places = new Places({
    ofRecord: (...call) => this.#run(...call),
    ofIndex: (...call) => this.#ofIndex(...call),
    heads: members => this.heads(members),
  });

  constructor(client: RedisClusterClient, layout: Layout) {
    this.#client = client;
    this.#layout = layout;
  }

  async create(record: SessionRecord, limit?: SessionLimit): Promise<boolean> {
    const ended = record.principal === undefined ? [] : await this.#places.take(record, limit);
    if (typeof ended === 'string') return answerOf(ended, limit);
    const [state] = await this.#run(apart.write, record.id, [encode(record), ttlOf(record)]);
    if (state === FENCES.late) throw new Error('A log-in took so long that its place was given away');
    if (state === 'here') {
      await this.#written(principalOf(record), record.id);
      return false;
    }
    // One that was ended for a later log-in before it was written is a session that was there. Nobody else can tell of its end.
    limit?.onDecided(state === FENCES.ended ? [...ended, record.id] : ended);
    return true;
  }

  async read(id: string): Promise<SessionRecord | undefined> {
    const text = await this.#load(id);
    return text === undefined ? undefined : decode(id, text);
  }

  async update(record: SessionRecord, expectedVersion: number): Promise<WriteOutcome> {
    const [principal, ttl] = [principalOf(record), ttlOf(record)];
    const text = encode({ ...record, version: expectedVersion + 1 });
    await this.#index(principal, record, ttl);
    const args = [text, ttl, principal, record.createdAt, expectedVersion];
    const [outcome, before] = await this.#run(apart.update, record.id, args);
    if (outcome === 'updated' && before !== principal) await this.#written(before, record.id);
    return outcome as WriteOutcome;
  }

  async touch(id: string, lastSeenAt: number, expiresAt: number): Promise<boolean> {
    const text = await this.#load(id);
    if (text === undefined) return false;
    // Another program's text has no time of a log-in.
    const createdAt = decode(id, text).createdAt || 0;
    let principal = text.slice(0, text.indexOf(' '));
    const ttl = ttlOf({ lastSeenAt, expiresAt });
    for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
      await this.#index(principal, { id, createdAt }, ttl);
      const [state, other] = await this.#run(apart.touch, id, [lastSeenAt, expiresAt, ttl, principal]);
      if (state !== 'other') return state === 'updated';
      // The record belongs to another principal by now, and needs an entry in that index for as long.
      principal = other ?? NO_PRINCIPAL;
    }
    throw new Error(`A session went from one principal to another ${ATTEMPTS} times while it was touched`);
  }

  async delete(id: string): Promise<boolean> {
    const [state, principal] = await this.#run(apart.remove, id, []);
    if (state !== 'updated') return false;
    await this.#unindex(principal, [id]);
    return true;
  }

  async listByPrincipal(principal: string, limit = Infinity): Promise<SessionRecord[]> {
    const hash = hashPrincipal(principal);
    return latest(limit, async count => {
      const [names, underWay] = (await this.#ofIndex(apart.names, hash, [count])) as [unknown, unknown];
      const members = textsOf(names);
      let records = await this.#recordsOf(hash, members.map(idOfMember));
      // Those that are there twice were all there at the instant in between: what log-ins end meanwhile is not listed beside them.
      if (Number(underWay) > 0) records = await this.#recordsOf(hash, [...records.keys()]);
      return { records: [...records.values()], isAll: members.length < count };
    });
  }

  async #recordsOf(principal: string, ids: readonly string[]): Promise<Map<string, SessionRecord>> {
    const found = new Map<string, SessionRecord>();
    await inSlices(ids, async id => {
      const text = await this.#load(id);
      if (text?.startsWith(`${principal} `)) found.set(id, decode(id, text));
    });
    return found;
  }

  async deleteByPrincipal(
    principal: string,
    exceptId?: string,
    onEnded?: (ids: readonly string[]) => void,
  ): Promise<string[]> {
    const hash = hashPrincipal(principal);
    const spared = exceptId === undefined ? [] : [memberOf(exceptId)];
    const all: string[] = [];
    const end = async (members: string[]): Promise<{ ended: string[]; others: string[] }> => {
      const ids = members.map(idOfMember);
      const outcomes = await Promise.all(ids.map(id => this.#run(apart.remove, id, [hash])));
      const isEnded = (_: unknown, n: number): boolean => outcomes[n]?.[0] === 'updated';
      const ended = ids.filter(isEnded);
      all.push(...ended);
      onEnded?.(ended);
      return { ended, others: ids.filter((id, n) => !isEnded(id, n)) };
    };
    const [few, nonces] = (await this.#ofIndex(apart.revoke, hash, [newNonce(), ...spared])) as [unknown, unknown];
    const { ended } = await end(textsOf(few).filter(member => member !== spared[0]));
    await this.#unindex(hash, ended);
    for (const nonce of textsOf(nonces)) {
      for (let members: string[] = [], isFirst = true; isFirst || members.length > 0; isFirst = false) {
        const { ended, others } = await end(members);
        const args = [nonce, ended.length, ...[...ended, ...others].map(memberOf)];
        members = textsOf(await this.#ofIndex(apart.goOn, hash, args));
      }
    }
    return all;
  }

  async expire(members: string[], now: number): Promise<number> {
    return (await this.#endEach(apart.expire, members, now)).length;
  }

  endMadeBefore(members: string[], before: number): Promise<string[]> {
    return this.#endEach(apart.endMadeBefore, members, before);
  }

  async heads(members: string[]): Promise<RecordHead[]> {
    const keys = members.map(member => this.#layout.prefix + member);
    const texts = await Promise.all(keys.map(async key => textsOf(await headTexts.run(this.#client, [key], []))));
    return headsFrom(members, texts.flat());
  }

  /** Runs a script on each record, and returns the ids of those that it ended. */
  async #endEach(script: Script, members: string[], instant: number): Promise<string[]> {
    const ended = await Promise.all(
      members.map(async member => {
        const id = idOfMember(member);
        const [state, principal] = await this.#run(script, id, [instant]);
        if (state !== 'updated') return [];
        await this.#unindex(principal, [id]);
        return [id];
      }),
    );
    return ended.flat();
  }

  async #load(id: string): Promise<string | undefined> {
    const text = textOf(await this.#client.get(this.#layout.recordKey(id)));
    return text === FENCES.ended || text === FENCES.late ? undefined : text;
  }

  /** Runs a script on a record. */
  async #run(script: Script, id: string, args: (string | number)[]): Promise<(string | undefined)[]> {
    return textsOf(await script.run(this.#client, [this.#layout.recordKey(id)], [memberOf(id), ...args]));
  }

  /** Runs a script on an index. */
  #ofIndex(script: Script, principal: string, args: (string | number)[]): Promise<unknown> {
    return script.run(this.#client, [this.#layout.indexKey(principal)], args);
  }

  async #index(principal: string, { id, createdAt }: IndexedRecord, ttl: number): Promise<void> {
    if (principal === NO_PRINCIPAL) return;
    await this.#ofIndex(apart.index, principal, [memberOf(id), ttl, createdAt]);
  }

  /** A name that stays in an index without a record of that principal must not look like a log-in under way. */
  async #written(principal: string | undefined, id: string): Promise<void> {
    if (principal === undefined || principal === NO_PRINCIPAL) return;
    await this.#ofIndex(apart.written, principal, [memberOf(id)]);
  }

  async #unindex(principal: string | undefined, ids: readonly string[]): Promise<void> {
    if (principal === undefined || principal === NO_PRINCIPAL || ids.length === 0) return;
    await this.#ofIndex(apart.unindex, principal, ids.map(memberOf));
  }
}
