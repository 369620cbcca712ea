/** The part of a `Pool` of the package `pg` that the backend uses. */
export interface PostgresPool {
  connect(): Promise<PostgresClient>;
  /** What the pool makes its clients from. A watch opens a connection of its own with it, which the pool does not count. */
  readonly Client?: unknown;
  readonly options?: unknown;
}

/** The part of a `Client` of the package `pg` that a watch uses. It is not connected yet. */
export interface PostgresListener {
  connect(): Promise<unknown>;
  query(statement: Statement): Promise<unknown>;
  on(event: 'notification', listener: (notification: PostgresNotification) => void): unknown;
  on(event: 'error' | 'end', listener: () => void): unknown;
  end(): Promise<void>;
  /** Lets the process end while the connection is open. */
  unref?(): void;
  /** The connection's socket. */
  readonly connection?: { readonly stream?: { destroy(): unknown } };
}

export interface PostgresNotification {
  readonly channel: string;
  readonly payload?: string | undefined;
}

export interface PostgresClient {
  query(statement: Statement): Promise<Result>;
  release(destroy?: boolean): void;
  /** `drain`: the server has answered the last statement. `end`: the connection is closed. */
  on(event: ClientEvent, listener: () => void): unknown;
  off(event: ClientEvent, listener: () => void): unknown;
  /** The server's address and the key of the connection there, which a request to cancel its statement needs. */
  readonly host?: unknown;
  readonly port?: unknown;
  readonly processID?: unknown;
  readonly secretKey?: unknown;
}

export type ClientEvent = 'error' | 'drain' | 'end';

export interface Statement {
  /** The name of the prepared statement, once for each connection. */
  name?: string;
  text: string;
  values?: unknown[];
  rowMode: 'array';
  types: { getTypeParser: () => (text: string) => string };
}

/** The values are text as the server sends it, or `null`. */
export interface Result {
  rows: unknown[][];
  rowCount: number | null;
}

/** Returns PostgreSQL's five-character code of an error. Those of Node, as EPIPE, have no digit. */
export function sqlStateOf(error: unknown): string | undefined {
  if (!(error instanceof Error) || !('code' in error) || typeof error.code !== 'string') return undefined;
  return /^(?=.*\d)[0-9A-Z]{5}$/.test(error.code) ? error.code : undefined;
}
