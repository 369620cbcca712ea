import { newProof, type Terms } from '../cookie/proof.js';
import type { MintedToken } from '../cookie/tokens.js';
import { SessionConflictError, SessionGoneError, SessionLimitError, SessionUnavailableError } from '../core/errors.js';
import { after, type Eventual, rescue } from '../core/eventual.js';
import type { SessionInput } from '../model/session-input.js';
import type { SessionRecord } from '../core/record.js';
import type { JsonObject } from '../model/json.js';
import type { Carry } from './carry.js';
import { LiveSession } from './live-session.js';
import type { Limits, OwnedRecord } from './limits.js';
import type { SessionName, SessionParts } from './parts.js';
import { isClosed } from './records.js';
import type { Transport } from './session.js';

/** The client that logs in, as far as it is known. */
export interface ClientInfo {
  ip?: string;
  userAgent?: string;
}

/** The circumstances of a log-in. */
export interface LogInContext {
  transport: Transport;
  client: ClientInfo;
  /** What the log-in settles for its session alone; nothing by default. */
  terms?: Terms | undefined;
  /** What the user has just proved; nothing by default. */
  factors?: readonly string[] | undefined;
  /** The sessions that it takes the place of. */
  earlier: readonly SessionName[];
  /** `true`: the first of these must be alive. Otherwise there is no log-in, and the others stay. */
  requireFirst?: boolean;
  /** A visitor's session that it takes over. */
  carry?: Carry | undefined;
}

/** The data to store, in the forms that the record needs. */
interface Content {
  data: JsonObject;
  encoded: string;
  principal: string | undefined;
}

/** A session that is stored, and has not reached the client yet. */
interface Stored {
  record: SessionRecord;
  minted: MintedToken;
}

/** A log-in that is not done yet. */
interface UnderWay {
  done: Promise<unknown> | undefined;
}

/** The number of times that a log-in reads a visitor's session again because the visitor goes on using it. */
const MAX_TAKES = 50;

/** Makes sessions. */
export class LogIn<T extends object> {
  readonly #underWay = new Set<UnderWay>();

  constructor(
    private readonly parts: SessionParts<T>,
    private readonly limits: Limits,
  ) {}

  /**
   * Makes a session. When it resolves, the record is stored, and the `earlier` sessions and the one that it takes over are dead;
   * when it rejects, there is no record, and the visitor keeps the session.
   *
   * @throws what merging throws
   * @throws SessionConflictError when the visitor's session kept being changed
   * @throws InvalidSessionDataError when the data breaks the model
   * @throws SessionGoneError when the session that is required is not there
   * @throws SessionLimitError when the principal has too many sessions, under `whenFull: 'refuse'`
   * @throws SessionUnavailableError when the backend fails
   */
  create(data: SessionInput<T>, context: LogInContext): Eventual<LiveSession<T>> {
    const creating = context.carry ? this.#carrying(data, context, context.carry) : this.#create(data, context);
    if (!(creating instanceof Promise)) return creating;
    const underWay: UnderWay = { done: creating };
    this.#underWay.add(underWay);
    return creating.finally(() => {
      this.#underWay.delete(underWay);
      // The tables that a Set outgrows keep its former entries alive until the next full collection.
      underWay.done = undefined;
    });
  }

  /** Resolves when the log-ins that are under way now are done, or have failed. */
  async settled(): Promise<void> {
    await Promise.allSettled(Array.from(this.#underWay, async ({ done }) => done));
  }

  #create(data: SessionInput<T>, context: LogInContext): Eventual<LiveSession<T>> {
    return after(this.#contentOf(data), content =>
      after(this.#store(content, context), stored => this.#complete(stored, content, context)),
    );
  }

  #complete(stored: Stored, content: Content, context: LogInContext): Eventual<LiveSession<T>> {
    return rescue(
      () => after(this.#endEarlier(context), () => this.#handOver(stored, content, context)),
      error => this.#takeBack(stored, error),
    );
  }

  /** Takes a visitor's session over, once more if it was changed or ended since it was read. */
  async #carrying(data: SessionInput<T>, context: LogInContext, carry: Carry): Promise<LiveSession<T>> {
    let remaining = context;
    for (let attempt = 0; attempt < MAX_TAKES; attempt++) {
      const visited = await carry.read();
      const content = await this.#contentOf(data, visited && (draft => carry.merge(visited.data, draft)));
      const stored = await this.#store(content, remaining);
      try {
        await this.#endEarlier(remaining, visited && carry.id);
        if (!visited || (await visited.take())) return this.#handOver(stored, content, remaining);
      } catch (error) {
        return this.#takeBack(stored, error);
      }
      await this.parts.store.orphans.end(stored.record.id);
      remaining = withoutEnded(context);
    }
    throw new SessionConflictError();
  }

  /** @param complete changes the data before it is validated */
  #contentOf(data: SessionInput<T>, complete?: (draft: T) => unknown): Eventual<Content> {
    const { model, store } = this.parts;
    return after(model.create(data, complete), plain =>
      after<unknown, Content>(store.settled(), () => ({
        data: plain,
        encoded: model.encode(plain),
        principal: model.principalOf(plain),
      })),
    );
  }

  #store(content: Content, context: LogInContext): Eventual<Stored> {
    return after(context.requireFirst ? this.#assertAlive(context.earlier[0]) : undefined, () => {
      const { tokens, store, records } = this.parts;
      context.transport.assertOpen();
      const minted = tokens.mint();
      const record = this.#recordOf(minted, content, context);
      const creating = isOwned(record) ? this.#createWithin(record, content, context) : store.create(record);
      return after<boolean, Stored>(creating, isStored => {
        // 128 random bits that are taken mean a generator that repeats itself. What lies there is not ours to remove.
        if (!isStored) throw new SessionUnavailableError({ cause: new Error(`the session id ${record.id} is taken`) });
        records.rememberLogIn(record.id);
        return { record, minted };
      });
    });
  }

  /** @param exceptId the visitor's session, which is taken over */
  #endEarlier(context: LogInContext, exceptId?: string): Eventual<void> {
    return context.earlier.length === 0 ? undefined : this.#endEach(context, exceptId);
  }

  async #endEach({ earlier, requireFirst }: LogInContext, exceptId: string | undefined): Promise<void> {
    for (const [index, session] of earlier.entries()) {
      if (session.id === exceptId) continue;
      const ended = await this.parts.end(session, 'replaced');
      if (!ended && index === 0 && requireFirst) throw new SessionGoneError();
    }
  }

  /** Gives the client its token. */
  #handOver(
    { record, minted: { token, hash } }: Stored,
    { data }: Content,
    { transport }: LogInContext,
  ): LiveSession<T> {
    const { events } = this.parts;
    transport.issue(token, record);
    if (events.isHeard('created')) events.emit('created', this.parts.eventOf(record));
    return new LiveSession(this.parts, { record, data }, { transport, hash, isNew: true });
  }

  #takeBack({ record }: Stored, error: unknown): never {
    void this.parts.store.orphans.end(record.id);
    throw error;
  }

  /** @throws SessionLimitError when the principal has too many sessions */
  #createWithin(record: OwnedRecord, { data }: Content, { earlier, carry }: LogInContext): Eventual<boolean> {
    const { model, store, events } = this.parts;
    const { principal } = record;
    const most = this.limits.mostOf(principal, () => model.instantiate(data));
    if (most === Infinity) return store.create(record);
    const replaced = carry ? [...earlier, carry] : earlier;
    const creating = this.limits.create(
      record,
      most,
      replaced.map(({ id }) => id),
    );
    return after(creating, decision => {
      if (decision === 'full') throw new SessionLimitError(most);
      if (decision === 'taken') return false;
      for (const id of decision) events.emit('ended', { ...this.parts.eventOf({ id, principal }), reason: 'evicted' });
      return true;
    });
  }

  /** An expired session counts as absent. One that ends after this check is noticed when it is replaced. */
  async #assertAlive(session: SessionName | undefined): Promise<void> {
    if (!session || isClosed(await this.parts.records.read(session.id))) throw new SessionGoneError();
  }

  #recordOf(
    { id, hash }: MintedToken,
    { encoded, principal }: Content,
    { client, terms, factors }: LogInContext,
  ): SessionRecord {
    const { times } = this.parts;
    const now = times.now();
    const proved = factors && Object.fromEntries(factors.map(factor => [factor, now]));
    const proof = newProof(hash, terms, proved);
    const record: SessionRecord = {
      id,
      data: encoded,
      proof,
      version: 1,
      createdAt: now,
      authenticatedAt: now,
      lastSeenAt: now,
      expiresAt: times.expiresAt({ createdAt: now, proof }, now),
    };
    if (principal === undefined) return record;
    // Assigned one by one: a spread would copy the record, which costs as much as storing it in memory.
    record.principal = principal;
    if (client.ip !== undefined) record.ip = client.ip;
    if (client.userAgent !== undefined) record.userAgent = client.userAgent;
    return record;
  }
}

/** Returns the circumstances once the earlier sessions are ended, but for the visitor's. */
function withoutEnded({ earlier, carry, requireFirst = false, ...context }: LogInContext): LogInContext {
  const left = earlier.filter(({ id }) => id === carry?.id);
  return { ...context, carry, earlier: left, requireFirst: requireFirst && left[0] === earlier[0] };
}

function isOwned(record: SessionRecord): record is OwnedRecord {
  return record.principal !== undefined;
}
