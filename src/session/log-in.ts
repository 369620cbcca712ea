import { newProof, type Terms } from '../cookie/proof.js';
import type { MintedToken } from '../cookie/tokens.js';
import { SessionConflictError, SessionGoneError, SessionLimitError, SessionUnavailableError } from '../core/errors.js';
import { after, type Eventual } from '../core/eventual.js';
import type { SessionInput } from '../model/session-input.js';
import type { SessionRecord } from '../core/record.js';
import type { JsonObject } from '../model/json.js';
import type { Carry, Visited } from './carry.js';
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
  create(data: SessionInput<T>, context: LogInContext): Promise<LiveSession<T>> {
    const underWay: UnderWay = { done: undefined };
    this.#underWay.add(underWay);
    return (underWay.done = this.#create(data, context, underWay));
  }

  /** Resolves when the log-ins that are under way now are done, or have failed. */
  async settled(): Promise<void> {
    await Promise.allSettled(Array.from(this.#underWay, async ({ done }) => done));
  }

  async #create(data: SessionInput<T>, context: LogInContext, underWay: UnderWay): Promise<LiveSession<T>> {
    const { model, store } = this.parts;
    const { carry } = context;
    let remaining = context;
    try {
      for (let attempt = 0; attempt < MAX_TAKES; attempt++) {
        const visited = carry && (await carry.read());
        const creating = model.create(data, visited && ((draft: T) => carry.merge(visited.data, draft)));
        const plain = creating instanceof Promise ? await creating : creating;
        const settled = store.settled();
        if (settled) await settled;
        const content = { data: plain, encoded: model.encode(plain), principal: model.principalOf(plain) };
        const session = await this.#store(content, remaining, visited);
        if (session) return session;
        remaining = withoutEnded(context);
      }
    } finally {
      this.#underWay.delete(underWay);
    }
    throw new SessionConflictError();
  }

  /** @returns `undefined` when the visitor's session was changed or ended since it was read; nothing is stored then */
  async #store(
    content: Content,
    context: LogInContext,
    visited: Visited | undefined,
  ): Promise<LiveSession<T> | undefined> {
    const { tokens, store, events } = this.parts;
    const { transport } = context;
    if (context.requireFirst) await this.#assertAlive(context.earlier[0]);
    transport.assertOpen();
    const minted = tokens.mint();
    const record = this.#recordOf(minted, content, context);
    const creating = isOwned(record) ? this.#createWithin(record, content, context) : store.create(record);
    // 128 random bits that are taken mean a generator that repeats itself. What lies there is not ours to remove.
    if (!(creating instanceof Promise ? await creating : creating))
      throw new SessionUnavailableError({ cause: new Error(`the session id ${record.id} is taken`) });
    this.parts.records.rememberLogIn(record.id);
    try {
      for (const [index, earlier] of context.earlier.entries()) {
        if (visited && earlier.id === context.carry?.id) continue;
        const ended = await this.parts.end(earlier, 'replaced');
        if (!ended && index === 0 && context.requireFirst) throw new SessionGoneError();
      }
      if (visited && !(await visited.take())) {
        await store.orphans.end(record.id);
        return undefined;
      }
      transport.issue(minted.token, record);
    } catch (error) {
      void store.orphans.end(record.id);
      throw error;
    }
    events.emit('created', this.parts.eventOf(record));
    return new LiveSession(this.parts, { record, data: content.data }, { transport, hash: minted.hash, isNew: true });
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
