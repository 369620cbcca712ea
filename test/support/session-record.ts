import { randomBytes } from 'node:crypto';
import type { SessionRecord } from '../../src/core/record.js';

/** A record as a log-in at 1,000 makes it, which lives for an hour; with whatever a test wants to be otherwise. */
export function sessionRecord(changes: Partial<SessionRecord> = {}): SessionRecord {
  return {
    id: randomBytes(16).toString('base64url'),
    data: '{}',
    proof: randomBytes(32).toString('base64url'),
    version: 1,
    createdAt: 1000,
    authenticatedAt: 1000,
    lastSeenAt: 1000,
    expiresAt: 1000 + 3_600_000,
    ...changes,
  };
}
