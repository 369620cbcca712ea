import { newProof, type Terms } from '../cookie/proof.js';
import type { MintedToken } from '../cookie/tokens.js';
import { SessionGoneError, SessionUnavailableError } from '../core/errors.js';
import type { SessionInput } from '../model/session-input.js';
import type { SessionRecord } from '../core/record.js';
import type { JsonObject } from '../model/json.js';
import { LiveSession } from './live-session.js';
import type { Locks } from './locks.js';
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
  terms?: Terms;
  /** What the user has just proved; nothing by default. */
  factors?: readonly string[];
  /** The sessions that it takes the place of. */
  earlier: readonly SessionName[];
  /** `true`: the first of these must be alive. Otherwise there is no log-in, and the others stay. */
  requireFirst?: boolean;
}

/** The data to store, in the forms that the record needs. */
interface Content {
  data: JsonObject;
  encoded: string;
  principal: string | undefined;
}

/** A log-in under `maxSessionsPerPrincipal`. */
interface Limit {
  principal: string;
  most: number;
  /** The "last seen" times of the principal's sessions when the log-in begins, by id. */
  before: ReadonlyMap<string, number>;
}

/**
 * The most sessions that one log-in ends. A user may have any number from a time without a limit: each log-in then ends so many
 * of them, and takes no longer than that.
 */
const EVICTED_AT_ONCE = 50;

/**
 * The number of log-ins of one user that other processes may be making beside one. Where the limit leaves more room than that,
 * it is far off.
 */
const BESIDE = 50;

/** Makes sessions. */
export class LogIn<T extends object> {
  readonly #underWay = new Set<Promise<unknown>>();

  constructor(
    private readonly parts: SessionParts<T>,
    private readonly locks: Locks,
  ) {}

  /**
   * Makes a session. When it resolves, the record is stored and the `earlier` sessions are dead; when it rejects, there is
   * no record.
   *
   * @throws InvalidSessionDataError when the data breaks the model
   * @throws SessionGoneError when the session that is required is not there
   * @throws SessionUnavailableError when the backend fails
   */
  async create(data: SessionInput<T>, context: LogInContext): Promise<LiveSession<T>> {
    const creating = this.#create(data, context);
    this.#underWay.add(creating);
    try {
      return await creating;
    } finally {
      this.#underWay.delete(creating);
    }
  }

  /** Resolves when the log-ins that are under way now are done, or have failed. */
  async settled(): Promise<void> {
    await Promise.allSettled(this.#underWay);
  }

  async #create(data: SessionInput<T>, context: LogInContext): Promise<LiveSession<T>> {
    const { model, times, store } = this.parts;
    const plain = await model.create(data);
    const settled = store.settled();
    if (settled) await settled;
    const content: Content = { data: plain, encoded: model.encode(plain), principal: model.principalOf(plain) };
    const { principal } = content;
    const { maxSessionsPerPrincipal: most } = times.limits;
    if (principal === undefined || !Number.isFinite(most)) return this.#store(content, context);
    return this.locks.hold(principal, async () => {
      const before = await this.#seenNow(principal, most);
      // A limit that is far off decides nothing, and the log-in is stored as it would be without one.
      return this.#store(content, context, before.size + BESIDE < most ? undefined : { principal, most, before });
    });
  }

  async #store(content: Content, context: LogInContext, limit?: Limit): Promise<LiveSession<T>> {
    const { tokens, store, events } = this.parts;
    const { transport } = context;
    if (context.requireFirst) await this.#assertAlive(context.earlier[0]);
    transport.assertOpen();
    const minted = tokens.mint();
    const record = this.#recordOf(minted, content, context, limit);
    const creating = store.create(record);
    // 128 random bits that are taken mean a generator that repeats itself. What lies there is not ours to remove.
    if (!(creating instanceof Promise ? await creating : creating))
      throw new SessionUnavailableError({ cause: new Error(`the session id ${record.id} is taken`) });
    this.parts.records.rememberLogIn(record.id);
    try {
      for (const [index, earlier] of context.earlier.entries()) {
        const ended = await this.parts.end(earlier, 'replaced');
        if (!ended && index === 0 && context.requireFirst) throw new SessionGoneError();
      }
      if (limit) await this.#evict(limit);
      transport.issue(minted.token, record);
    } catch (error) {
      void store.orphans.end(record.id);
      throw error;
    }
    events.emit('created', this.parts.eventOf(record));
    return new LiveSession(this.parts, { record, data: content.data }, { transport, hash: minted.hash, isNew: true });
  }

  /** An expired session counts as absent. One that ends after this check is noticed when it is replaced. */
  async #assertAlive(session: SessionName | undefined): Promise<void> {
    if (!session || isClosed(await this.parts.records.read(session.id))) throw new SessionGoneError();
  }

  #recordOf(
    { id, hash }: MintedToken,
    { encoded, principal }: Content,
    { client, terms = {}, factors = [] }: LogInContext,
    limit: Limit | undefined,
  ): SessionRecord {
    const { times } = this.parts;
    const now = times.now();
    // Later than all that were there: so every process that evicts sees in what order they came, also within a millisecond.
    let lastSeenAt = now;
    for (const seen of limit?.before.values() ?? []) lastSeenAt = Math.max(lastSeenAt, seen + 1);
    const proof = newProof(hash, terms, Object.fromEntries(factors.map(factor => [factor, now])));
    const record: SessionRecord = {
      id,
      data: encoded,
      proof,
      version: 1,
      createdAt: now,
      authenticatedAt: now,
      lastSeenAt,
      expiresAt: times.expiresAt({ createdAt: now, proof }, lastSeenAt),
    };
    return principal === undefined ? record : { ...record, principal, ...client };
  }

  /** Returns the "last seen" times of a principal's newest sessions by id. */
  async #seenNow(principal: string, most: number): Promise<ReadonlyMap<string, number>> {
    const records = await this.parts.records.list(principal, most + EVICTED_AT_ONCE);
    return new Map(records.map(record => [record.id, record.lastSeenAt]));
  }

  /**
   * Ends what a principal has too many, the least recently seen at the head. All processes agree on one order, so that
   * log-ins that race do not end each other's. A touch since the log-in began does not count: the log-in is later.
   */
  async #evict({ principal, most, before }: Limit): Promise<void> {
    const records = await this.parts.records.list(principal, most + EVICTED_AT_ONCE);
    const surplus = records.length - most;
    if (surplus <= 0) return;
    const seen = (record: SessionRecord) => before.get(record.id) ?? record.lastSeenAt;
    records.sort((a, b) => seen(a) - seen(b) || (a.id < b.id ? -1 : 1));
    for (const record of records.slice(0, surplus)) await this.parts.end(record, 'evicted');
  }
}
