import type { SessionRecord } from '../../core/record.js';
import { counts, type CreateOutcome, mostCounted, mostEnded, type SessionLimit } from '../../core/limit.js';
import type { RecordHead } from '../../core/inventory.js';
import { textsOf } from './client.js';
import { apart } from './cluster-scripts.js';
import { idOfMember, memberOf, principalOf, ttlOf } from './layout.js';
import { inSlices } from './latest.js';
import type { Script } from './script.js';

/**
 * The milliseconds for which a log-in counts that has not written its record. After that its place is given away when it is
 * needed.
 */
const HOLD = 5_000;

/** The most looks at an index for one log-in. Each looks at 500 names at least, or at all. */
const LOOKS = 1_000;

/** What looks at the names of an index have found. */
interface Found {
  /** The names of records that are gone and will not be written. */
  gone: string[];
  /** The names of records that do not count: they are over, are another principal's, or are left out. */
  others: string[];
  /** The names of those that count, and when each was seen last. */
  alive: string[];
  seen: number[];
  /** The names of records that are not written yet. */
  held: string[];
  /** The time of the first look by the server's clock. A place that was taken later is that of a log-in under way. */
  since: number;
}

/** The part of the cluster that places are taken with. */
export interface PlaceServers {
  /** Runs a script on the record of that id. */
  ofRecord(script: Script, id: string, args: (string | number)[]): Promise<(string | undefined)[]>;
  /** Runs a script on the index of a principal. */
  ofIndex(script: Script, principal: string, args: (string | number)[]): Promise<unknown>;
  heads(members: string[]): Promise<RecordHead[]>;
}

/** A log-in and its limit. */
interface Applicant {
  record: SessionRecord;
  limit: SessionLimit;
}

/**
 * Takes places for log-ins in the indexes of principals: the server of the index decides in one step. A place counts from then
 * on, also while the record is not written, so that log-ins that race never leave more records than places.
 *
 * - The server does not see the records. If there may be no room, it returns the names, and the caller looks at their records
 *   and comes back. Names of records that are gone are removed from the index.
 * - The sessions that have to go for a log-in are named in the step that gives it its place. They do not count from then on, and
 *   are ended before its record is written. If its process dies before that, they count again when its place has lapsed.
 * - A log-in that is under way can have to go, too. It finds a fence in place of its record, and reports its own end.
 * - A place whose record is not written in time counts no longer once it is in the way of another log-in, which puts a fence
 *   there first: what is written late is not stored. So nothing depends on how the clocks of the servers differ.
 */
export class Places {
  constructor(private readonly servers: PlaceServers) {}

  /**
   * Takes a place, and ends what has to go for it.
   *
   * @returns the ids of the sessions that this call ended; `'full'`: there is no room; `'taken'`: there is a record of that id
   */
  async take(record: SessionRecord, limit: SessionLimit | undefined): Promise<CreateOutcome> {
    const args = [memberOf(record.id), ttlOf(record), record.createdAt, HOLD];
    const principal = principalOf(record);
    if (!limit) {
      await this.servers.ofIndex(apart.place, principal, args);
      return [];
    }
    args.push(limit.most, mostCounted(limit), mostEnded(limit));
    const found: Found = { gone: [], others: limit.except.map(memberOf), alive: [], seen: [], held: [], since: 0 };
    for (let look = 0; look <= LOOKS; look++) {
      const more = look === 0 ? [] : [JSON.stringify(found)];
      const answer = (await this.servers.ofIndex(apart.place, principal, [...args, ...more])) as unknown[];
      const [[outcome, at], names, others] = answer.map(textsOf) as [string[], string[], string[]];
      if (outcome === 'placed') return this.#end(principal, names, others);
      if (look === 0) {
        if ((await this.servers.heads([memberOf(record.id)])).length > 0) return 'taken';
        found.since = Number(at);
      }
      if (limit.whenFull === 'refuse') [found.alive, found.seen] = [[], []];
      await this.#look({ record, limit }, names, others, found);
      if (limit.whenFull === 'refuse' && found.alive.length + found.held.length >= limit.most) return 'full';
    }
    throw new Error(`A log-in found no place in ${LOOKS} looks at the sessions of its user`);
  }

  /** Looks at the records of names. */
  async #look({ record, limit }: Applicant, names: string[], states: string[], found: Found): Promise<void> {
    const heads = new Map<string, RecordHead>();
    const isLeftOut = new Set(found.others);
    const seen = names.filter(name => !isLeftOut.has(name));
    await inSlices(seen, async name => {
      for (const head of await this.servers.heads([name])) heads.set(name, head);
    });
    found.gone = [];
    found.held = [];
    for (const [n, name] of names.entries()) {
      const head = heads.get(name);
      if (isLeftOut.has(name)) continue;
      if (head && head.principal === record.principal && counts(head, limit)) {
        found.alive.push(name);
        found.seen.push(head.lastSeenAt);
      } else if (head) found.others.push(name);
      else if (states[n] === 'taken') found.held.push(name);
      // One that was written since is looked at again.
      else if (states[n] === '' || (await this.#fence(name))) found.gone.push(name);
    }
  }

  async #fence(name: string): Promise<boolean> {
    const [state] = await this.servers.ofRecord(apart.fence, idOfMember(name), []);
    return state === 'gone';
  }

  /**
   * Ends the sessions that have to go.
   *
   * @param written the names of those whose records have been there
   * @param unwritten the names of those whose log-ins may be under way
   * @returns the ids of those that this call ended
   */
  async #end(principal: string, written: string[], unwritten: string[]): Promise<string[]> {
    const all = [
      ...written.map(name => ({ name, script: apart.remove })),
      ...unwritten.map(name => ({ name, script: apart.evict })),
    ];
    const states = await Promise.all(
      all.map(async ({ name, script }) => (await this.servers.ofRecord(script, idOfMember(name), [principal]))[0]),
    );
    const gone = all.filter((_, n) => states[n] !== 'other');
    if (gone.length > 0)
      await this.servers.ofIndex(
        apart.unindex,
        principal,
        gone.map(({ name }) => name),
      );
    return all.flatMap(({ name }, n) => (states[n] === 'updated' ? [idOfMember(name)] : []));
  }
}
