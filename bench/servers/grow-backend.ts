import { randomBytes } from 'node:crypto';

import type { SessionBackend } from 'routing-controllers-sessions';

import { LIFETIME, nextProfile } from '../profile.js';

const AT_ONCE = 500;

/** Fills a backend with records whose tokens nobody has. */
export async function growBackend(backend: SessionBackend, count: number): Promise<void> {
  let left = count;
  const worker = async () => {
    while (left-- > 0) {
      const now = Date.now();
      const profile = nextProfile();
      await backend.create({
        id: randomBytes(16).toString('base64url'),
        principal: profile.username,
        data: JSON.stringify(profile),
        proof: randomBytes(32).toString('base64url'),
        version: 1,
        createdAt: now,
        authenticatedAt: now,
        lastSeenAt: now,
        expiresAt: now + LIFETIME * 1000,
      });
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, worker));
}
