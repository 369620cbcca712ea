import { randomBytes } from 'node:crypto';
import { monotonicNow } from '../../core/timers.js';
import type { NewsDesk, NewsSource } from '../watches.js';
import { BEAT, ListeningConnection, type PoolProbe } from './listening-connection.js';
import type { PostgresListener, PostgresPool } from './pool.js';

/** Milliseconds from one attempt to listen to the next, and after one on a connection that hears nothing. */
const RETRY = 1_000;
const RETRY_OF_DEAF = 60_000;

/**
 * The news of a table, on a connection of its own. There is no timer: the connection is kept up, and opened again, when
 * somebody asks until when the news are known, so that a process that was stopped finds them out of date.
 */
export class NewsFeed implements NewsSource {
  readonly #desk: NewsDesk;
  readonly #clientOf: () => PostgresListener | undefined;
  readonly #poolProbe: PoolProbe;
  readonly #channel = `rcs_${randomBytes(12).toString('hex')}`;
  #connection: ListeningConnection | undefined;
  #retry = RETRY;
  #isClosed = false;
  #hasWarned = false;

  /** @param clientOf makes a client that is not connected, or `undefined` where there is no way to make one */
  constructor(desk: NewsDesk, clientOf: () => PostgresListener | undefined, poolProbe: PoolProbe) {
    this.#desk = desk;
    this.#clientOf = clientOf;
    this.#poolProbe = poolProbe;
    this.#open();
  }

  knownUntil(): number {
    const now = monotonicNow();
    const connection = this.#connection;
    if (!connection) return -Infinity;
    if (connection.isLost) {
      if (!this.#isClosed && now - connection.openedAt > this.#retry) this.#open();
    } else if (now - connection.knownUntil > BEAT) connection.keepUp(now);
    return this.#connection?.knownUntil ?? -Infinity;
  }

  close(): void {
    this.#isClosed = true;
    this.#connection?.close();
  }

  #open(): void {
    const client = this.#clientOf();
    if (!client) {
      this.#warn('the pool is not a Pool of the package pg, which a connection of its own could be opened with');
      return;
    }
    this.#retry = RETRY;
    this.#connection = new ListeningConnection(client, this.#channel, this.#poolProbe, {
      changed: id => this.#desk.changed(id),
      lost: () => this.#desk.lost(),
      deaf: () => {
        this.#retry = RETRY_OF_DEAF;
        this.#warn(
          'what is sent through the pool does not arrive on a connection that listens. There is a pooler in transaction mode between, as PgBouncer, or listen leads to another database',
        );
      },
    });
  }

  /** Warns once, because the application watches and hears nothing. */
  #warn(reason: string): void {
    if (this.#hasWarned) return;
    this.#hasWarned = true;
    process.emitWarning(
      `PostgresBackend cannot watch its table: ${reason}. Sessions are read again instead. Write new PostgresBackend({ pool, listen: () => new Client({ connectionString }) }) with the address of the server itself`,
      { type: 'SessionWarning', code: 'SESSION_NEWS' },
    );
  }
}

/** Makes a client as the pool makes its own. */
export function clientOfPool({ Client, options }: PostgresPool): PostgresListener | undefined {
  if (typeof Client !== 'function') return undefined;
  return new (Client as new (options: unknown) => PostgresListener)(options);
}
