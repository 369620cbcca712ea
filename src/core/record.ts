/**
 * The stored form of one session: plain data, copied in and out. Instants are epoch milliseconds.
 *
 * Nothing in it opens the session. `id` is public; `proof` is derived from a hash of the secret in the cookie, so that a
 * reader of the whole store cannot log in with what is there.
 */
export interface SessionRecord {
  /** The session's name from log-in to log-out: 16 random bytes in base64url, 22 characters. Safe to list, log and revoke by. */
  id: string;
  /** The owner of the session: the value of the model's `@Principal()` property. Backends index it. */
  principal?: string;
  /** The session's data, encoded by the library. Opaque to backends; at most 64 KiB of UTF-8. */
  data: string;
  /**
   * The value that a token must match to open the session, encoded by the library; a rotation exchanges it. Opaque to
   * backends, which store it byte for byte and never compare it; at most 1,024 bytes of UTF-8.
   */
  proof: string;
  /** 1 for a new record; counts up by one with each `update`. A `touch` leaves it alone. */
  version: number;
  /** The time of the log-in. */
  createdAt: number;
  /** The time of the user's last authentication. */
  authenticatedAt: number;
  /** The time of the last request, to within the touch interval. */
  lastSeenAt: number;
  /** min(lastSeenAt + idle timeout, createdAt + absolute timeout). A backend may forget the record from then on. */
  expiresAt: number;
  /** Address of the client at log-in, if kept. */
  ip?: string;
  /** User-Agent of the client at log-in, if kept; at most 256 characters. */
  userAgent?: string;
}

/**
 * Returns whether a value from a backend has the form of a record. Other programs may have written to the store; a value that
 * fails this check counts as no session, never as an error.
 */
export function isSessionRecord(value: unknown, id: string | undefined): value is SessionRecord {
  if (typeof value !== 'object' || value === null) return false;
  const record = value as Partial<Record<keyof SessionRecord, unknown>>;
  return (
    typeof record.id === 'string' &&
    record.id === id &&
    typeof record.data === 'string' &&
    typeof record.proof === 'string' &&
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

/** A backend returns this in place of a record whose format is later than it can read. */
export interface LaterRecord {
  /** The name of the format. */
  laterFormat: string;
}

/** Returns the format of a record that a later version of this library wrote. It may be a session: it is unavailable. */
export function laterFormatOf(value: unknown): string | undefined {
  const format = (value as Partial<LaterRecord> | null | undefined)?.laterFormat;
  return typeof format === 'string' ? format : undefined;
}

function isAbsentOrString(value: unknown): boolean {
  return value === undefined || typeof value === 'string';
}
