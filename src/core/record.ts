/**
 * What a backend keeps for one session: plain data, copied in and out. Instants are epoch milliseconds.
 *
 * There is no token in it. `id` is the SHA-256 of the secret in the cookie, so that whoever reads the whole store finds
 * nothing to log in with.
 */
export interface SessionRecord {
  /** base64url(SHA-256(secret)), 43 characters. Safe to list, to log, and to revoke by. */
  id: string;
  /** Whose session this is: the value of the model's `@Principal()` property. Backends index it. */
  principal?: string;
  /** The session's data, encoded by the library. Opaque to backends; at most 64 KiB of UTF-8. */
  data: string;
  /** 1 for a new record; counts up by one with each `update` and `replace`. A `touch` leaves it alone. */
  version: number;
  /** When the session began: its log-in. A rotation keeps it. */
  createdAt: number;
  /** When the user last proved who they are. Differs from `createdAt` where a rotation kept a session's age. */
  authenticatedAt: number;
  /** When a request last came with it, to within the touch interval. */
  lastSeenAt: number;
  /** min(lastSeenAt + idle timeout, createdAt + absolute timeout). A backend may forget the record from then on. */
  expiresAt: number;
  /** Address of the client at log-in, if kept. */
  ip?: string;
  /** User-Agent of the client at log-in, if kept; at most 256 characters. */
  userAgent?: string;
}

/**
 * Whether what a backend handed out can be a record at all. A store may have been written to by anything; what fails here
 * counts as no session, never as an error.
 */
export function isSessionRecord(value: unknown, id: string): value is SessionRecord {
  if (typeof value !== 'object' || value === null) return false;
  const record = value as Partial<Record<keyof SessionRecord, unknown>>;
  return (
    record.id === id &&
    typeof record.data === 'string' &&
    Number.isSafeInteger(record.version) &&
    Number.isFinite(record.createdAt) &&
    Number.isFinite(record.authenticatedAt) &&
    Number.isFinite(record.lastSeenAt) &&
    Number.isFinite(record.expiresAt) &&
    isAbsentOrString(record.principal) &&
    isAbsentOrString(record.ip) &&
    isAbsentOrString(record.userAgent)
  );
}

function isAbsentOrString(value: unknown): boolean {
  return value === undefined || typeof value === 'string';
}
