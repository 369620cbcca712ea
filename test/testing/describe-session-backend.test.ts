import { execFileSync } from 'node:child_process';
import { InMemoryBackend } from '../../src/backends/memory/backend.js';
import { Pace } from '../../src/backends/pace.js';
import { AT_ONCE } from '../../src/core/at-once.js';
import type { SessionBackend, WriteOutcome } from '../../src/core/backend.js';
import { SessionConfigurationError } from '../../src/core/errors.js';
import { counts, decide, type SessionLimit } from '../../src/core/limit.js';
import type { SessionRecord } from '../../src/core/record.js';
import { describeSessionBackend, type DescribeSessionBackendOptions } from '../../src/testing/index.js';
import { bundleModule } from '../support/child.js';
import type { SessionNews, SessionNewsListener, SessionWatch } from '../../src/core/news.js';

describeSessionBackend('InMemoryBackend', () => new InMemoryBackend());

const nextTurn = (): Promise<void> => new Promise(resolve => setImmediate(resolve));

/** Faults as people make them, each in a backend that is otherwise right. */
const BROKEN: Record<
  string,
  { caughtBy: string; open: () => SessionBackend; options?: DescribeSessionBackendOptions }
> = {
  'update creates a record that is gone (an upsert)': {
    caughtBy: 'of a deleted record it answers gone and does not bring it back',
    open: () =>
      new (class extends InMemoryBackend {
        override async update(record: SessionRecord, expectedVersion: number): Promise<WriteOutcome> {
          const outcome = await super.update(record, expectedVersion);
          if (outcome !== 'gone') return outcome;
          await this.create({ ...record, version: expectedVersion + 1 });
          return 'updated';
        }
      })(),
  },
  'update reads, waits and writes without comparing again': {
    caughtBy: '10 writers count one record up',
    open: () =>
      new (class extends InMemoryBackend {
        override async update(record: SessionRecord, expectedVersion: number): Promise<WriteOutcome> {
          const stored = await this.read(record.id);
          if (!stored) return 'gone';
          if (stored.version !== expectedVersion) return 'conflict';
          await nextTurn();
          const now = await this.read(record.id);
          return super.update(record, now?.version ?? expectedVersion);
        }
      })(),
  },
  'update ignores versions': {
    caughtBy: 'at any other version it answers conflict',
    open: () =>
      new (class extends InMemoryBackend {
        override async update(record: SessionRecord): Promise<WriteOutcome> {
          const stored = await this.read(record.id);
          return stored ? super.update(record, stored.version) : 'gone';
        }
      })(),
  },
  'update stores the version that was handed in': {
    caughtBy: 'its version counts up by one whatever the given one says',
    open: () =>
      new (class extends InMemoryBackend {
        override async update(record: SessionRecord, expectedVersion: number): Promise<WriteOutcome> {
          const outcome = await super.update(record, expectedVersion);
          if (outcome === 'updated') {
            await this.delete(record.id);
            await this.create(record);
          }
          return outcome;
        }
      })(),
  },
  'create overwrites': {
    caughtBy: 'create of an id that is taken answers false',
    open: () =>
      new (class extends InMemoryBackend {
        override async create(record: SessionRecord): Promise<boolean> {
          await this.delete(record.id);
          return super.create(record);
        }
      })(),
  },
  'update checks, waits, and then writes over whatever is there, or is not': {
    caughtBy: 'random races of update, rotation, touch and ending',
    open: () =>
      new (class extends InMemoryBackend {
        override async update(record: SessionRecord, expectedVersion: number): Promise<WriteOutcome> {
          const stored = await this.read(record.id);
          if (!stored) return 'gone';
          if (stored.version !== expectedVersion) return 'conflict';
          await nextTurn();
          await this.delete(record.id);
          await this.create({ ...record, version: expectedVersion + 1 });
          return 'updated';
        }
      })(),
  },
  'a log-out is undone by a stale update, which has the record at hand': {
    caughtBy: 'of a deleted record it answers gone and does not bring it back',
    open: () =>
      new (class extends InMemoryBackend {
        readonly #seen = new Map<string, SessionRecord>();
        override create(record: SessionRecord): Promise<boolean> {
          this.#seen.set(record.id, { ...record });
          return super.create(record);
        }
        override async update(record: SessionRecord, expectedVersion: number): Promise<WriteOutcome> {
          const seen = this.#seen.get(record.id);
          if (seen?.version === expectedVersion) await super.create(seen);
          return super.update(record, expectedVersion);
        }
      })(),
  },
  'a rotation writes blindly': {
    caughtBy: 'at any other version it answers conflict, and the proof stays',
    open: () =>
      new (class extends InMemoryBackend {
        override async update(record: SessionRecord, expectedVersion: number): Promise<WriteOutcome> {
          const stored = await this.read(record.id);
          const isRotation = stored !== undefined && stored.proof !== record.proof;
          return super.update(record, isRotation ? stored.version : expectedVersion);
        }
      })(),
  },
  'a rotation is two writes, the version first': {
    caughtBy: 'always finds the session, with the proof of its version',
    open: () =>
      new (class extends InMemoryBackend {
        override async update(record: SessionRecord, expectedVersion: number): Promise<WriteOutcome> {
          const stored = await this.read(record.id);
          if (!stored || stored.proof === record.proof) return super.update(record, expectedVersion);
          const outcome = await super.update({ ...record, proof: stored.proof }, expectedVersion);
          if (outcome !== 'updated') return outcome;
          await nextTurn();
          await rewrite(this, record.id, { proof: record.proof });
          return outcome;
        }
      })(),
  },
  'an update leaves the proof as it was': {
    caughtBy: 'stores the new proof under the same id',
    open: () =>
      new (class extends InMemoryBackend {
        override async update(record: SessionRecord, expectedVersion: number): Promise<WriteOutcome> {
          const stored = await this.read(record.id);
          return super.update({ ...record, proof: stored?.proof ?? record.proof }, expectedVersion);
        }
      })(),
  },
  'a proof is cut off at 255 bytes': {
    caughtBy: 'a proof of no length and of 1,024 bytes comes back byte for byte',
    open: () =>
      new (class extends InMemoryBackend {
        override create(record: SessionRecord): Promise<boolean> {
          return super.create({ ...record, proof: Buffer.from(record.proof).subarray(0, 255).toString() });
        }
      })(),
  },
  'a proof is cut off at 1,023 bytes by an update': {
    caughtBy: 'a proof of no length and of 1,024 bytes comes back byte for byte',
    open: () =>
      new (class extends InMemoryBackend {
        override update(record: SessionRecord, expectedVersion: number): Promise<WriteOutcome> {
          const proof = Buffer.from(record.proof).subarray(0, 1023).toString();
          return super.update({ ...record, proof }, expectedVersion);
        }
      })(),
  },
  'an update that changes only the case of the proof is not written': {
    caughtBy: 'differs only in case',
    open: () => new LooseBackend(proof => proof.toLowerCase()),
  },
  'an update that changes only blanks at the end of the proof is not written': {
    caughtBy: 'differs only in case, in a blank at the end',
    open: () => new LooseBackend(proof => proof.trimEnd()),
  },
  'proofs that are equal as numbers are not told apart': {
    caughtBy: 'differs only in case',
    open: () =>
      new LooseBackend(proof => (proof.trim() === '' || isNaN(Number(proof)) ? proof : String(Number(proof)))),
  },
  'an update that changes nothing but the proof is taken for one that changes nothing': {
    caughtBy: 'stores the new proof under the same id',
    open: () => new LooseBackend(() => ''),
  },
  'touch writes back the proof that it read before': {
    caughtBy: 'racing an update it takes neither data nor proof back',
    open: () =>
      new (class extends InMemoryBackend {
        override async touch(id: string, lastSeenAt: number, expiresAt: number): Promise<boolean> {
          const stored = await this.read(id);
          if (!stored) return false;
          await nextTurn();
          if (!(await super.touch(id, lastSeenAt, expiresAt))) return false;
          return rewrite(this, id, { proof: stored.proof });
        }
      })(),
  },
  'the index is written late': {
    caughtBy: 'racing log-ins, rotations, updates and touches',
    open: () =>
      new (class extends InMemoryBackend {
        override async create(record: SessionRecord): Promise<boolean> {
          const { principal, ...anonymous } = record;
          const created = await super.create(anonymous);
          if (created && principal !== undefined) {
            setImmediate(() => {
              void this.read(record.id).then(
                stored => stored && super.update({ ...stored, principal }, stored.version),
              );
            });
          }
          return created;
        }
      })(),
  },
  'the index misses rotated records': {
    caughtBy: 'follows a rotation that gives, changes or takes away the principal',
    open: () =>
      new (class extends InMemoryBackend {
        readonly #rotated = new Set<string>();
        override async update(record: SessionRecord, expectedVersion: number): Promise<WriteOutcome> {
          const stored = await this.read(record.id);
          const outcome = await super.update(record, expectedVersion);
          if (outcome === 'updated' && stored?.proof !== record.proof) this.#rotated.add(record.id);
          return outcome;
        }
        override async listByPrincipal(principal: string): Promise<SessionRecord[]> {
          return (await super.listByPrincipal(principal)).filter(({ id }) => !this.#rotated.has(id));
        }
      })(),
  },
  'deleteByPrincipal goes on until nothing is left': {
    caughtBy: 'a flood of log-ins of that principal does not keep it from answering',
    open: () =>
      new (class extends InMemoryBackend {
        override async deleteByPrincipal(principal: string, exceptId?: string): Promise<string[]> {
          const ended: string[] = [];
          for (;;) {
            const more = await super.deleteByPrincipal(principal, exceptId);
            if (more.length === 0) return ended;
            ended.push(...more);
            await nextTurn();
          }
        }
      })(),
  },
  'deleteByPrincipal spares what was updated meanwhile': {
    caughtBy: 'racing log-ins, rotations, updates and touches',
    open: () =>
      new (class extends InMemoryBackend {
        override async deleteByPrincipal(principal: string, exceptId?: string): Promise<string[]> {
          const records = (await this.listByPrincipal(principal)).filter(({ id }) => id !== exceptId);
          const ended: string[] = [];
          for (const { id, version } of records) {
            await nextTurn();
            if ((await this.read(id))?.version === version && (await this.delete(id))) ended.push(id);
          }
          return ended;
        }
      })(),
  },
  'deleteByPrincipal ends what another principal has taken over': {
    caughtBy: 'does not end a record that another principal has taken over',
    open: () =>
      new (class extends InMemoryBackend {
        readonly #ids = new Map<string, Set<string>>();
        override create(record: SessionRecord): Promise<boolean> {
          const { id, principal = '' } = record;
          this.#ids.set(principal, (this.#ids.get(principal) ?? new Set()).add(id));
          return super.create(record);
        }
        override async deleteByPrincipal(principal: string, exceptId?: string): Promise<string[]> {
          const ended = await super.deleteByPrincipal(principal, exceptId);
          for (const id of this.#ids.get(principal) ?? [])
            if (id !== exceptId && (await this.delete(id))) ended.push(id);
          return ended;
        }
      })(),
  },
  'deleteByPrincipal lists, waits, then deletes without asking whose the sessions are by then': {
    caughtBy: 'a session that another principal takes over meanwhile',
    open: () =>
      new (class extends InMemoryBackend {
        override async deleteByPrincipal(principal: string, exceptId?: string): Promise<string[]> {
          const records = (await this.listByPrincipal(principal)).filter(({ id }) => id !== exceptId);
          await nextTurn();
          const ended: string[] = [];
          for (const { id } of records) if (await this.delete(id)) ended.push(id);
          return ended;
        }
      })(),
  },
  'deleteByPrincipal ends half of the sessions': {
    caughtBy: 'ends all records of that principal',
    open: () =>
      new (class extends InMemoryBackend {
        override async deleteByPrincipal(principal: string, exceptId?: string): Promise<string[]> {
          const records = (await this.listByPrincipal(principal)).filter(({ id }) => id !== exceptId);
          const ended: string[] = [];
          for (const { id } of records.slice(0, Math.ceil(records.length / 2)))
            if (await this.delete(id)) ended.push(id);
          return ended;
        }
      })(),
  },
  'deleteByPrincipal ignores exceptId': {
    caughtBy: 'spares exceptId',
    open: () =>
      new (class extends InMemoryBackend {
        override deleteByPrincipal(principal: string): Promise<string[]> {
          return super.deleteByPrincipal(principal);
        }
      })(),
  },
  'deleteByPrincipal names what it did not end': {
    caughtBy: 'name no session twice',
    open: () =>
      new (class extends InMemoryBackend {
        override async deleteByPrincipal(principal: string, exceptId?: string): Promise<string[]> {
          const ids = (await this.listByPrincipal(principal)).map(({ id }) => id);
          await super.deleteByPrincipal(principal, exceptId);
          return ids;
        }
      })(),
  },
  'listByPrincipal ignores the limit': {
    caughtBy: 'with a limit it has the latest log-ins',
    open: () =>
      new (class extends InMemoryBackend {
        override async listByPrincipal(principal: string): Promise<SessionRecord[]> {
          return (await super.listByPrincipal(principal)).sort((a, b) => b.createdAt - a.createdAt);
        }
      })(),
  },
  'listByPrincipal takes any records up to the limit, and puts those in order': {
    caughtBy: 'with a limit it has the latest log-ins',
    open: () =>
      new (class extends InMemoryBackend {
        override async listByPrincipal(principal: string, limit?: number): Promise<SessionRecord[]> {
          const any = (await super.listByPrincipal(principal)).sort((a, b) => (a.id < b.id ? -1 : 1)).slice(0, limit);
          return any.sort((a, b) => b.createdAt - a.createdAt);
        }
      })(),
  },
  'listByPrincipal takes those that were used last': {
    caughtBy: 'with a limit it has the latest log-ins',
    open: () =>
      new (class extends InMemoryBackend {
        override async listByPrincipal(principal: string, limit?: number): Promise<SessionRecord[]> {
          const all = await super.listByPrincipal(principal);
          return all.sort((a, b) => b.lastSeenAt - a.lastSeenAt || b.createdAt - a.createdAt).slice(0, limit);
        }
      })(),
  },
  'listByPrincipal goes by the order in which records came': {
    caughtBy: 'with a limit it follows log-ins, endings',
    open: () =>
      new (class extends InMemoryBackend {
        readonly #order: string[] = [];
        override create(record: SessionRecord): Promise<boolean> {
          this.#order.push(record.id);
          return super.create(record);
        }
        override async listByPrincipal(principal: string, limit?: number): Promise<SessionRecord[]> {
          const all = await super.listByPrincipal(principal);
          return all.sort((a, b) => this.#order.indexOf(b.id) - this.#order.indexOf(a.id)).slice(0, limit);
        }
      })(),
  },
  'deleteByPrincipal ends its first batch only': {
    caughtBy: '2,500 sessions of one principal are all listed, and go in one call',
    open: () =>
      new (class extends InMemoryBackend {
        override async deleteByPrincipal(principal: string, exceptId?: string): Promise<string[]> {
          const batch = (await this.listByPrincipal(principal, 1000)).filter(({ id }) => id !== exceptId);
          for (const { id } of batch) await this.delete(id);
          return batch.map(({ id }) => id);
        }
      })(),
  },
  'deleteByPrincipal names a batch before it has ended it': {
    caughtBy: '2,500 sessions of one principal are all listed, and go in one call',
    open: () =>
      new (class extends InMemoryBackend {
        override async deleteByPrincipal(
          principal: string,
          exceptId?: string,
          onEnded?: (ids: readonly string[]) => void,
        ): Promise<string[]> {
          const ids = (await this.listByPrincipal(principal)).map(({ id }) => id).filter(id => id !== exceptId);
          onEnded?.(ids);
          return super.deleteByPrincipal(principal, exceptId);
        }
      })(),
  },
  'touch creates': {
    caughtBy: 'of an unknown or deleted id it answers false and creates nothing',
    open: () =>
      new (class extends InMemoryBackend {
        override async touch(id: string, lastSeenAt: number, expiresAt: number): Promise<boolean> {
          if (await super.touch(id, lastSeenAt, expiresAt)) return true;
          const created = { createdAt: lastSeenAt, authenticatedAt: lastSeenAt, lastSeenAt, expiresAt };
          return this.create({ id, data: '{}', proof: '', version: 1, ...created });
        }
      })(),
  },
  'touch goes backwards': {
    caughtBy: 'of 30 touches at once, in any order, the latest stands',
    open: () =>
      new (class extends InMemoryBackend {
        override async touch(id: string, lastSeenAt: number, expiresAt: number): Promise<boolean> {
          return rewrite(this, id, { lastSeenAt, expiresAt });
        }
      })(),
  },
  'touch writes back data that it read before': {
    caughtBy: 'of 30 touches at once, in any order, the latest stands',
    open: () =>
      new (class extends InMemoryBackend {
        override async touch(id: string, lastSeenAt: number, expiresAt: number): Promise<boolean> {
          const stored = await this.read(id);
          if (!stored) return false;
          if (lastSeenAt <= stored.lastSeenAt) return true;
          await nextTurn();
          return rewrite(this, id, { data: stored.data, lastSeenAt, expiresAt });
        }
      })(),
  },
  'touch counts the version up': {
    caughtBy: 'does not make an update conflict',
    open: () =>
      new (class extends InMemoryBackend {
        override async touch(id: string, lastSeenAt: number, expiresAt: number): Promise<boolean> {
          const stored = await this.read(id);
          if (!stored) return false;
          if (lastSeenAt > stored.lastSeenAt) await this.update({ ...stored, lastSeenAt, expiresAt }, stored.version);
          return true;
        }
      })(),
  },
  'records are kept as they were handed in': {
    caughtBy: 'changing a record that was read or listed changes nothing',
    open: () => new SharingBackend(),
  },
  'optional properties come back as null': {
    caughtBy: 'optional properties that were absent stay absent',
    open: () =>
      new (class extends InMemoryBackend {
        override async read(id: string): Promise<SessionRecord | undefined> {
          const stored = await super.read(id);
          return stored && ({ ip: null, ...stored } as unknown as SessionRecord);
        }
      })(),
  },
  'ids are compared without regard to case': {
    caughtBy: 'as ids they are ordinary and distinct strings',
    open: () =>
      new (class extends InMemoryBackend {
        readonly #ids = new Map<string, string>();
        override create(record: SessionRecord): Promise<boolean> {
          const known = this.#ids.get(record.id.toLowerCase());
          if (known !== undefined && known !== record.id) return Promise.resolve(false);
          this.#ids.set(record.id.toLowerCase(), record.id);
          return super.create(record);
        }
      })(),
  },
  'principals end at a NUL': {
    caughtBy: 'as principals they are ordinary and distinct strings',
    open: () =>
      new (class extends InMemoryBackend {
        override listByPrincipal(principal: string): Promise<SessionRecord[]> {
          return super.listByPrincipal(principal.split('\0', 1)[0] ?? '');
        }
      })(),
  },
  'data is cut off at 65,535 bytes': {
    caughtBy: 'of 64 KiB comes back byte for byte',
    open: () =>
      new (class extends InMemoryBackend {
        override create(record: SessionRecord): Promise<boolean> {
          return super.create({ ...record, data: Buffer.from(record.data).subarray(0, 65_535).toString() });
        }
      })(),
  },
  'deleteExpired ends sessions that live': {
    caughtBy: 'removes what expires at the given instant or before',
    open: () =>
      new (class extends InMemoryBackend {
        override deleteExpired(now: number): Promise<number> {
          return super.deleteExpired(now + 1);
        }
      })(),
  },
  'deleteExpired goes by the real time': {
    caughtBy: 'whatever the real time is',
    open: () =>
      new (class extends InMemoryBackend {
        override deleteExpired(): Promise<number> {
          return super.deleteExpired(Date.now());
        }
      })(),
  },
  'deleteExpired stops after its first batch': {
    caughtBy: '2,500 expired records go, in one call',
    open: () =>
      new (class extends InMemoryBackend {
        override async deleteExpired(now: number): Promise<number> {
          return Math.min(await super.deleteExpired(now), 1000);
        }
      })(),
  },
  'a list ends at 500': {
    caughtBy: '2,500 sessions of one principal are all listed',
    open: () =>
      new (class extends InMemoryBackend {
        override async listByPrincipal(principal: string, limit?: number): Promise<SessionRecord[]> {
          return (await super.listByPrincipal(principal, limit)).slice(0, 500);
        }
      })(),
  },
  'a list with a limit ends at 1,000': {
    caughtBy: '2,500 sessions of one principal are all listed',
    open: () =>
      new (class extends InMemoryBackend {
        override listByPrincipal(principal: string, limit?: number): Promise<SessionRecord[]> {
          return super.listByPrincipal(principal, limit === undefined ? undefined : Math.min(limit, 1000));
        }
      })(),
  },
  'a revocation ends at 1,000': {
    caughtBy: '2,500 sessions of one principal are all listed, and go in one call',
    open: () =>
      new (class extends InMemoryBackend {
        override async deleteByPrincipal(principal: string, exceptId?: string): Promise<string[]> {
          const ended = (await this.listByPrincipal(principal, 1000)).filter(({ id }) => id !== exceptId);
          for (const { id } of ended) await this.delete(id);
          return ended.map(({ id }) => id);
        }
      })(),
  },
  'a sweep does everything in one step': {
    caughtBy: '2,500 expired records go, in one call but in batches',
    open: () =>
      new (class extends InMemoryBackend {
        readonly #expiries = new Map<string, number>();
        override create(record: SessionRecord): Promise<boolean> {
          this.#expiries.set(record.id, record.expiresAt);
          return super.create(record);
        }
        override async deleteExpired(now: number): Promise<number> {
          const expired = [...this.#expiries].filter(([, expiresAt]) => expiresAt <= now).map(([id]) => id);
          const deleted = await Promise.all(expired.map(id => this.delete(id)));
          return deleted.filter(Boolean).length;
        }
      })(),
  },
  'a watch tells of log-outs only': {
    caughtBy: 'tells of sessions that are ended and changed',
    open: () =>
      new MisheardBackend({
        hears: function* (news, own) {
          if (news.is === 'lost' || own.isGone(news.id)) yield news;
        },
      }),
  },
  'a watch tells of one session in each revocation': {
    caughtBy: 'tells of each of 1,000 sessions of one user',
    open: () => {
      let since = 0;
      return new MisheardBackend({
        hears: function* (news) {
          if (performance.now() - since > 1) yield news;
          since = performance.now();
        },
      });
    },
  },
  'a watch names ids without their capitals': {
    caughtBy: 'names any id as it is',
    open: () =>
      new MisheardBackend({
        hears: function* (news) {
          yield news.is === 'changed' ? { is: 'changed', id: news.id.toLowerCase() } : news;
        },
      }),
  },
  'a watch calls everything lost': {
    caughtBy: 'what came to nothing is no news of loss',
    open: () => new MisheardBackend({ onKnown: listener => listener({ is: 'lost' }) }),
  },
  'a watch tells of the one that is spared': {
    caughtBy: 'but not of the one that is spared',
    open: () =>
      new MisheardBackend({
        hears: function* (news, own) {
          yield news;
          for (const id of own.ids) yield { is: 'changed', id };
        },
      }),
  },
  'a watch knows of what it has not told yet': {
    caughtBy: 'never counts as known what was not told',
    open: () => new MisheardBackend({ delay: 3 }),
  },
  'a watch goes on after its end': {
    caughtBy: 'one that has ended gets nothing',
    open: () => new MisheardBackend({ goesOn: true }),
  },
  'a watch that is closed knows everything': {
    caughtBy: 'a closed backend knows nothing',
    open: () => new MisheardBackend({ knows: () => performance.now() }),
  },
  'deleteAll ends its first batch only': {
    caughtBy: '2,500 sessions of 50 users go in one call',
    open: () =>
      new EndingBackend(async (own, before) => {
        const older = own.records().filter(({ createdAt }) => createdAt < before);
        return own.endEach(older.slice(0, 1000));
      }),
  },
  'deleteAll ends what began at the instant': {
    caughtBy: 'ends those that were made before the instant',
    open: () => new EndingBackend((own, before) => own.end(before + 1)),
  },
  'deleteAll goes through the users, and leaves sessions that are nobody’s': {
    caughtBy: 'ends those that were made before the instant',
    open: () =>
      new EndingBackend((own, before) =>
        own.endEach(own.records().filter(record => record.createdAt < before && record.principal !== undefined)),
      ),
  },
  'deleteAll goes by when a session was last seen': {
    caughtBy: 'goes by the createdAt',
    open: () =>
      new EndingBackend((own, before) => own.endEach(own.records().filter(({ lastSeenAt }) => lastSeenAt < before))),
  },
  'deleteAll answers how many it looked at': {
    caughtBy: 'ends those that were made before the instant',
    open: () =>
      new EndingBackend(async (own, before) => {
        const { length } = own.records();
        await own.end(before);
        return length;
      }),
  },
  'deleteAll stops at the first that is later': {
    caughtBy: '2,500 sessions of 50 users go in one call',
    open: () =>
      new EndingBackend((own, before) => {
        const all = own.records();
        const end = all.findIndex(({ createdAt }) => createdAt >= before);
        return own.endEach(end === -1 ? all : all.slice(0, end));
      }),
  },
  'deleteAll leaves the lists as they were': {
    caughtBy: 'the lists agree',
    open: () =>
      new (class extends EndingBackend {
        readonly #ghosts: SessionRecord[] = [];
        constructor() {
          super((own, before) => {
            this.#ghosts.push(...own.records().filter(({ createdAt }) => createdAt < before));
            return own.end(before);
          });
        }
        override async listByPrincipal(principal: string, limit?: number): Promise<SessionRecord[]> {
          const ghosts = this.#ghosts.filter(record => record.principal === principal);
          return [...(await super.listByPrincipal(principal, limit)), ...ghosts];
        }
      })(),
  },
  'deleteAll leaves what was changed since it looked': {
    caughtBy: 'it leaves nothing that is older, and all that is later',
    open: () =>
      new EndingBackend(async (own, before) => {
        const older = own.records().filter(({ createdAt }) => createdAt < before);
        await nextTurn();
        const same: SessionRecord[] = [];
        for (const record of older) if ((await own.read(record.id))?.version === record.version) same.push(record);
        return own.endEach(same);
      }),
  },
  'deleteAll names its sessions, and counts those that others have ended since': {
    caughtBy: 'two at once count no session twice',
    open: () =>
      new EndingBackend(async (own, before) => {
        const older = own.records().filter(({ createdAt }) => createdAt < before);
        await nextTurn();
        await own.endEach(older);
        return older.length;
      }),
  },
  'deleteAll empties the store': {
    caughtBy: 'beside a flood of log-ins',
    open: () =>
      new EndingBackend(async own => {
        await nextTurn();
        return own.end(Infinity);
      }),
  },
  'deleteAll looks until it finds nothing, whatever is added': {
    caughtBy: 'beside a flood of log-ins',
    open: () =>
      new EndingBackend(async (own, before) => {
        let ended = 0;
        for (let known = -1; known !== own.size;) {
          known = own.size;
          ended += await own.end(before);
          await nextTurn();
        }
        return ended;
      }),
  },
  'delete always answers true': {
    caughtBy: 'of 20 deletes of one id at once exactly one answers true',
    open: () =>
      new (class extends InMemoryBackend {
        override async delete(id: string): Promise<boolean> {
          await super.delete(id);
          return true;
        }
      })(),
  },
  'a store is written on close only': {
    caughtBy: 'what was answered is in the store before the backend is closed',
    open: () => new LateBackend(),
    options: { openAgain: first => LateBackend.again(first as LateBackend), extraHandles: 0 },
  },
  'a closed backend answers that nothing is there': {
    caughtBy: 'after close no method answers that a stored record is absent',
    open: () => new LateBackend(),
    options: { openAgain: first => LateBackend.again(first as LateBackend), extraHandles: 0 },
  },
  ...Object.fromEntries(
    (['read', 'update', 'touch', 'delete', 'create', 'listByPrincipal', 'deleteByPrincipal'] as const).map(method => [
      `an error of the engine is answered as absence by ${method}`,
      {
        caughtBy: 'is an error of every method, and nothing that is stored counts as absent',
        open: () => new SwallowingBackend(method),
        options: { cutOff: (backend: SessionBackend) => (backend as SwallowingBackend).cutOff() },
      },
    ]),
  ),
  'a limit is counted, and then the log-in stored': {
    caughtBy: '60 at once, limit 1, refuse',
    open: () =>
      new LimitingBackend(async (own, record, limit) => {
        const decision = decide(await own.counted(record, limit), limit);
        await nextTurn();
        return own.conclude(record, limit, decision);
      }),
  },
  'a limit is counted beside others, and each ends what it has seen': {
    caughtBy: '60 at once, limit 5, evict',
    open: () =>
      new LimitingBackend(async (own, record, limit) => {
        const decision = decide(await own.counted(record, limit), limit);
        await nextTurn();
        return own.conclude(record, limit, decision);
      }),
  },
  'a limit ends the session that was seen last': {
    caughtBy: 'ends the session that was seen least recently',
    open: () =>
      new LimitingBackend(async (own, record, limit) => {
        const sessions = (await own.counted(record, limit)).map(session => ({
          ...session,
          lastSeenAt: -session.lastSeenAt,
        }));
        return own.conclude(record, limit, decide(sessions, limit));
      }),
  },
  'a limit ends the session of the earliest log-in': {
    caughtBy: 'ends the session that was seen least recently',
    open: () =>
      new LimitingBackend(async (own, record, limit) => {
        const sessions = (await own.counted(record, limit)).map(session => ({ ...session, lastSeenAt: 0 }));
        return own.conclude(record, limit, decide(sessions, limit));
      }),
  },
  'a limit ends any of the sessions that were seen at one time': {
    caughtBy: 'of sessions that were seen at one time',
    open: () =>
      new LimitingBackend(async (own, record, limit) => {
        const ids = (await own.counted(record, limit)).sort((a, b) => a.lastSeenAt - b.lastSeenAt).map(({ id }) => id);
        return own.conclude(record, limit, ids.slice(0, Math.max(0, ids.length + 1 - limit.most)));
      }),
  },
  ...Object.fromEntries(
    (['expiresAt', 'createdAt', 'lastSeenAt'] as const).map(time => [
      `a limit counts sessions that are over by ${time}`,
      {
        caughtBy: 'does not count a session that is over',
        open: () =>
          new LimitingBackend((own, record, limit) =>
            own.store(record, { ...limit, livesAfter: { ...limit.livesAfter, [time]: -Infinity } }),
          ),
      },
    ]),
  ),
  'a limit counts a session that is over at this very millisecond': {
    caughtBy: 'does not count a session that is over',
    open: () =>
      new LimitingBackend((own, record, limit) =>
        own.store(record, { ...limit, livesAfter: { ...limit.livesAfter, expiresAt: limit.livesAfter.expiresAt - 1 } }),
      ),
  },
  'a limit refuses although there is room': {
    caughtBy: 'stores while there is room',
    open: () =>
      new LimitingBackend((own, record, limit) =>
        own.store(record, { ...limit, most: limit.whenFull === 'refuse' ? Math.max(1, limit.most - 1) : limit.most }),
      ),
  },
  'a limit refuses what comes while another log-in is under way': {
    caughtBy: '60 at once under a limit of as many',
    open: () => {
      let underWay = 0;
      return new LimitingBackend(async (own, record, limit) => {
        const isBusy = underWay++ > 0 && limit.whenFull === 'refuse';
        await nextTurn();
        underWay--;
        return own.store(record, isBusy ? { ...limit, most: 1 } : limit);
      });
    },
  },
  'a limit ignores what is excepted': {
    caughtBy: 'does not count a session that is excepted',
    open: () => new LimitingBackend((own, record, limit) => own.store(record, { ...limit, except: [] })),
  },
  'a limit ends what is excepted': {
    caughtBy: 'does not count a session that is excepted',
    open: () =>
      new LimitingBackend(async (own, record, limit) => {
        for (const id of limit.except) await own.delete(id);
        return own.store(record, limit);
      }),
  },
  'a limit ends sessions for an id that is taken': {
    caughtBy: 'of an id that is taken it answers false',
    open: () =>
      new LimitingBackend(async (own, record, limit) =>
        own.conclude(record, limit, decide(await own.counted(record, limit), limit)),
      ),
  },
  'a limit calls an id that is taken full': {
    caughtBy: 'of an id that is taken it answers false',
    open: () =>
      new LimitingBackend(async (own, record, limit) => {
        const isFull = decide(await own.counted(record, limit), limit) === 'full';
        if (!isFull) return own.store(record, limit);
        limit.onDecided('full');
        return false;
      }),
  },
  'a limit is over by one': {
    caughtBy: 'ends the session that was seen least recently',
    open: () => new LimitingBackend((own, record, limit) => own.store(record, { ...limit, most: limit.most + 1 })),
  },
  'a limit has no bound on what it ends': {
    caughtBy: 'ends at most 50',
    open: () =>
      new LimitingBackend(async (own, record, limit) => {
        const ids = (await own.counted(record, limit)).sort((a, b) => a.lastSeenAt - b.lastSeenAt).map(({ id }) => id);
        return own.conclude(record, limit, ids.slice(0, Math.max(0, ids.length + 1 - limit.most)));
      }),
  },
  'a limit ends the sessions of whoever has a name in another case': {
    caughtBy: 'leaves the sessions of others',
    open: () =>
      new LimitingBackend(async (own, record, limit) => {
        await own.store({ ...record, principal: record.principal?.toLowerCase() ?? '' }, limit);
        for (const { id } of await own.listByPrincipal('Ada')) await own.delete(id);
        return (await own.read(record.id)) !== undefined;
      }),
  },
  'a limit names what it did not end': {
    caughtBy: 'ends the session that was seen least recently',
    open: () =>
      new LimitingBackend((own, record, limit) =>
        own.store(record, {
          ...limit,
          onDecided: decision =>
            limit.onDecided(decision === 'full' || decision.length === 0 ? decision : [...decision, 'nobody']),
        }),
      ),
  },
  'a limit does not name what it ended': {
    caughtBy: 'ends the session that was seen least recently',
    open: () =>
      new LimitingBackend((own, record, limit) =>
        own.store(record, { ...limit, onDecided: decision => limit.onDecided(decision === 'full' ? decision : []) }),
      ),
  },
  'a limit stores what it refuses': {
    caughtBy: 'refuses one that does not fit',
    open: () =>
      new LimitingBackend(async (own, record, limit) => {
        const isStored = await own.store(record, limit);
        if (!isStored && !(await own.read(record.id))) await own.store(record);
        return isStored;
      }),
  },
  'a limit ends sessions for a log-in that it refuses': {
    caughtBy: 'refuses one that does not fit',
    open: () =>
      new LimitingBackend(async (own, record, limit) => {
        if (await own.store(record, limit)) return true;
        const [oldest] = await own.counted(record, limit);
        if (oldest) await own.delete(oldest.id);
        return false;
      }),
  },
  'a limit does not see a log-out at once': {
    caughtBy: '50 log-outs and log-ins',
    open: () => {
      const own = new LimitingBackend((same, record, limit) => same.store(record, limit));
      const end = own.delete.bind(own);
      own.delete = async id => {
        setImmediate(() => setImmediate(() => void end(id)));
        return (await own.read(id)) !== undefined;
      };
      return own;
    },
  },
  'a limit ends sessions in silence': {
    caughtBy: 'is news for those that it ends',
    open: () => {
      let isEvicting = false;
      const own = new LimitingBackend((same, record, limit) => {
        isEvicting = true;
        return same.store(record, limit).finally(() => (isEvicting = false));
      });
      const watch = own.watch.bind(own);
      own.watch = listener => watch(news => (isEvicting ? undefined : listener(news)));
      return own;
    },
  },
  'a second close throws': {
    caughtBy: 'resolves, also a second time',
    open: () =>
      new (class extends InMemoryBackend {
        #closed = false;
        override close(): Promise<void> {
          if (this.#closed) return Promise.reject(new Error('closed'));
          this.#closed = true;
          return super.close();
        }
      })(),
  },
};

/** Leaves an update out that looks as if it changed nothing, because proofs are compared by what `fold` makes of them. */
class LooseBackend extends InMemoryBackend {
  constructor(private readonly fold: (proof: string) => string) {
    super();
  }
  override async update(record: SessionRecord, expectedVersion: number): Promise<WriteOutcome> {
    const stored = await this.read(record.id);
    const isSame = stored && stored.data === record.data && this.fold(stored.proof) === this.fold(record.proof);
    return super.update(isSame ? { ...record, proof: stored.proof } : record, expectedVersion);
  }
}

/** Keeps everything in memory, and writes it to its store when it is closed. */
class LateBackend extends InMemoryBackend {
  readonly #written: SessionRecord[];
  readonly #ids = new Set<string>();

  constructor(written: SessionRecord[] = []) {
    super();
    this.#written = written;
  }
  static async again(first: LateBackend): Promise<LateBackend> {
    const backend = new LateBackend(first.#written);
    for (const record of first.#written) await backend.create(record);
    return backend;
  }
  override create(record: SessionRecord): Promise<boolean> {
    this.#ids.add(record.id);
    return super.create(record);
  }
  override async close(): Promise<void> {
    const records = await Promise.all([...this.#ids].map(id => this.read(id)));
    this.#written.push(...records.filter(record => record !== undefined));
    await super.close();
  }
}

const ABSENCE = {
  read: undefined,
  update: 'gone',
  touch: false,
  delete: false,
  create: false,
  listByPrincipal: [],
  deleteByPrincipal: [],
};

/** Rejects when it is cut off, but for one method. */
class SwallowingBackend extends InMemoryBackend {
  constructor(private readonly swallows: keyof typeof ABSENCE) {
    super();
  }
  cutOff(): void {
    for (const [method, absence] of Object.entries(ABSENCE))
      Object.assign(this, {
        [method]: () => (method === this.swallows ? Promise.resolve(absence) : Promise.reject(new Error('cut off'))),
      });
  }
}

/** Decides on limits in its own way. */
class LimitingBackend extends InMemoryBackend {
  constructor(
    private readonly createWithin: (
      own: LimitingBackend,
      record: SessionRecord,
      limit: SessionLimit,
    ) => Promise<boolean>,
  ) {
    super();
  }
  override create(record: SessionRecord, limit?: SessionLimit): Promise<boolean> {
    return limit ? this.createWithin(this, record, limit) : super.create(record);
  }
  store(record: SessionRecord, limit?: SessionLimit): Promise<boolean> {
    return super.create(record, limit);
  }
  async counted({ principal = '' }: SessionRecord, limit: SessionLimit): Promise<SessionRecord[]> {
    return (await this.listByPrincipal(principal)).filter(session => counts(session, limit));
  }
  async conclude(record: SessionRecord, limit: SessionLimit, decision: readonly string[] | 'full'): Promise<boolean> {
    limit.onDecided(decision);
    if (decision === 'full') return false;
    for (const id of decision) await this.delete(id);
    return super.create(record);
  }
}

/** Has a `deleteAll` of its own. */
class EndingBackend extends InMemoryBackend {
  readonly #ids = new Set<string>();
  constructor(private readonly endThose: (own: EndingBackend, before: number) => Promise<number>) {
    super();
  }
  /** Every record, in the order in which they came. */
  records(): SessionRecord[] {
    return [...this.#ids].flatMap(id => this[AT_ONCE].read(id) ?? []);
  }
  async endEach(records: readonly SessionRecord[]): Promise<number> {
    let ended = 0;
    for (const { id } of records) if (await this.delete(id)) ended++;
    return ended;
  }
  end(before: number): Promise<number> {
    return super.deleteAll(before);
  }
  override create(record: SessionRecord): Promise<boolean> {
    this.#ids.add(record.id);
    return super.create(record);
  }
  override deleteAll(before: number): Promise<number> {
    return this.endThose(this, before);
  }
}

interface Mishearing {
  /** What becomes of the news. */
  hears?: (news: SessionNews, own: MisheardBackend) => Iterable<SessionNews>;
  onKnown?: (listener: SessionNewsListener) => void;
  knows?: () => number;
  /** The turns by which the news come late. */
  delay?: number;
  goesOn?: boolean;
}

/** Tells what changes, but not as it is. */
class MisheardBackend extends InMemoryBackend {
  readonly ids = new Set<string>();
  readonly #gone = new Set<string>();

  constructor(private readonly mishearing: Mishearing) {
    super();
  }

  isGone(id: string): boolean {
    return this.#gone.has(id);
  }

  override create(record: SessionRecord): Promise<boolean> {
    this.ids.add(record.id);
    return super.create(record);
  }

  override delete(id: string): Promise<boolean> {
    this.#gone.add(id);
    return super.delete(id);
  }

  override watch(listener: SessionNewsListener): SessionWatch {
    const { hears, onKnown, knows, delay = 0, goesOn = false } = this.mishearing;
    const tell = async (news: SessionNews): Promise<void> => {
      for (let turn = 0; turn < delay; turn++) await nextTurn();
      for (const heard of hears ? hears(news, this) : [news]) listener(heard);
    };
    const watch = super.watch(news => void tell(news));
    const knownUntil = (): number => {
      onKnown?.(listener);
      return knows ? knows() : watch.knownUntil();
    };
    let isOver = false;
    const stop = (): void => {
      isOver = true;
      if (!goesOn) watch();
    };
    return Object.assign(stop, { knownUntil: () => (isOver ? -Infinity : knownUntil()) });
  }
}

/** Hands out and keeps the caller's own objects. */
class SharingBackend extends InMemoryBackend {
  readonly #shared = new Map<string, SessionRecord>();
  override create(record: SessionRecord): Promise<boolean> {
    this.#shared.set(record.id, record);
    return super.create(record);
  }
  override async read(id: string): Promise<SessionRecord | undefined> {
    const stored = await super.read(id);
    const shared = this.#shared.get(id);
    return stored && shared?.version === stored.version ? shared : stored;
  }
}

/** Changes a record in place without counting its version up. */
async function rewrite(backend: SessionBackend, id: string, changes: Partial<SessionRecord>): Promise<boolean> {
  const stored = await backend.read(id);
  if (!stored) return false;
  await backend.delete(id);
  await backend.create({ ...stored, ...changes });
  return true;
}

/** Registers the suite with a runner of our own instead of Jest's, so that its failures can be counted. */
function collect(
  open: () => SessionBackend,
  options?: DescribeSessionBackendOptions,
): Map<string, () => Promise<void>> {
  const cases = new Map<string, () => Promise<void>>();
  const globals = globalThis as Record<string, unknown>;
  const { describe, it } = globals;
  const path: string[] = [];
  globals['describe'] = (name: string, body: () => void) => {
    path.push(name);
    body();
    path.pop();
  };
  globals['it'] = (name: string, body: () => Promise<void>) => cases.set([...path, name].join(' › '), body);
  try {
    describeSessionBackend('a backend', open, options);
  } finally {
    Object.assign(globals, { describe, it });
  }
  return cases;
}

/** Runs the cases whose names have these words, and returns the names of those that failed. */
async function failuresOf(
  open: () => SessionBackend,
  options: DescribeSessionBackendOptions = {},
  words = '',
): Promise<string[]> {
  const failed: string[] = [];
  // A sweep beside which hardly anybody asks for anything need not rest for long.
  const rest = jest.spyOn(Pace.prototype, 'rest').mockImplementation(nextTurn);
  for (const [name, run] of collect(open, { races: 100, seed: 1, ...options })) {
    if (name.includes(words)) await run().catch(() => failed.push(name));
  }
  rest.mockRestore();
  return failed;
}

describe('describeSessionBackend', () => {
  it('passes a correct backend', async () => {
    expect(await failuresOf(() => new InMemoryBackend())).toEqual([]);
  });

  it.each(Object.keys(BROKEN))('catches a backend where %s', async fault => {
    const { open, options, caughtBy } = BROKEN[fault]!;
    expect(await failuresOf(open, options, caughtBy)).not.toEqual([]);
  });

  it('prints the seed with a failure', async () => {
    const cases = collect(BROKEN['delete always answers true']!.open, { seed: 42 });
    const [, run] = [...cases].find(([name]) => name.includes('of 20 deletes'))!;
    await expect(run()).rejects.toThrow('(seed: 42)');
  });

  it('registers the cases for several handles only where the backend can be opened again', () => {
    const open = () => new InMemoryBackend();
    const count = (options?: DescribeSessionBackendOptions) => collect(open, options).size;
    expect(count({ openAgain: open })).toBe(count() + 6);
    expect(count({ cutOff: () => undefined })).toBe(count() + 1);
  });

  it('runs under node:test', () => {
    const { NODE_TEST_CONTEXT: _, ...env } = process.env;
    const report = execFileSync(
      process.execPath,
      ['--test', '--test-reporter=tap', bundleModule('suite-under-node-test')],
      {
        encoding: 'utf8',
        env,
      },
    );
    expect(Number(/^# pass (\d+)$/m.exec(report)?.[1])).toBeGreaterThanOrEqual(
      collect(() => new InMemoryBackend()).size,
    );
    expect(report).toMatch(/^# fail 0$/m);
  });

  it('closes every handle after each case, also when the case failed', async () => {
    let open = 0;
    class Counted extends InMemoryBackend {
      constructor() {
        super();
        open++;
      }
      override close(): Promise<void> {
        open--;
        return super.close();
      }
      override delete(): Promise<boolean> {
        return Promise.reject(new Error('broken'));
      }
    }
    const cases = collect(() => new Counted(), { openAgain: () => new Counted() });
    const [, run] = [...cases].find(([name]) => name.includes('of 20 deletes'))!;
    await expect(run()).rejects.toThrow('broken');
    expect(open).toBe(0);
  });

  it('without a global describe and it, reports what to do', () => {
    const globals = globalThis as Record<string, unknown>;
    const { describe } = globals;
    delete globals['describe'];
    try {
      expect(() => describeSessionBackend('a backend', () => new InMemoryBackend())).toThrow(
        expect.objectContaining({ code: 'ERR_SESSION_CONFIG', message: expect.stringContaining('node:test') }),
      );
    } finally {
      Object.assign(globals, { describe });
    }
  });

  it('refuses an unknown option and names it', () => {
    expect(() => describeSessionBackend('a backend', () => new InMemoryBackend(), { race: 1 } as never)).toThrow(
      SessionConfigurationError,
    );
  });
});
