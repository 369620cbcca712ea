import { randomBytes } from 'node:crypto';
import type { SessionRecord } from '../../src/core/record.js';

/** Returns a record as a log-in at `createdAt` makes it, which lives for an hour, with the given changes. */
export function sessionRecord(changes: Partial<SessionRecord> = {}): SessionRecord {
  const { createdAt = 1000 } = changes;
  return {
    id: randomBytes(16).toString('base64url'),
    data: '{}',
    proof: randomBytes(32).toString('base64url'),
    version: 1,
    createdAt,
    authenticatedAt: createdAt,
    lastSeenAt: createdAt,
    expiresAt: createdAt + 3_600_000,
    ...changes,
  };
}
