import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import type { SessionBackend } from '../../core/backend.js';
import type { SessionRecord } from '../../core/record.js';

export const MINUTE = 60_000;
export const HOUR = 60 * MINUTE;

/**
 * The instant around which all records of one run lie. It is the present, because an engine may expire records by its own
 * clock: records that are to stay must expire in that clock's future, too.
 */
export const START = Date.now();

/** Returns an id in the form of a log-in's: 22 characters. */
export function newId(): string {
  return randomBytes(16).toString('base64url');
}

/** Returns a proof about as long as the library's. */
export function newProof(): string {
  return randomBytes(32).toString('base64url');
}

export function newPrincipal(): string {
  return `user-${newId()}`;
}

/** Returns a record as a log-in makes it: without principal, ip and user agent unless they are given. */
export function newRecord(changes: Partial<SessionRecord> = {}): SessionRecord {
  return {
    id: newId(),
    data: '{"n":0}',
    proof: newProof(),
    version: 1,
    createdAt: START,
    authenticatedAt: START,
    lastSeenAt: START,
    expiresAt: START + HOUR,
    ...changes,
  };
}

/** Returns the same record without a principal. */
export function anonymous(record: SessionRecord): SessionRecord {
  const { principal, ...rest } = record;
  return principal === undefined ? record : rest;
}

/** Returns the same session with another proof, as a rotation passes it to `update`. */
export function rotated(record: SessionRecord, changes: Partial<SessionRecord> = {}): SessionRecord {
  return { ...record, proof: newProof(), ...changes };
}

/** Returns the stored record after an `update` with the given one. */
export function updated(record: SessionRecord): SessionRecord {
  return { ...record, version: record.version + 1 };
}

export async function create(backend: SessionBackend, changes: Partial<SessionRecord> = {}): Promise<SessionRecord> {
  const record = newRecord(changes);
  assert.equal(await backend.create(record), true, 'create of a new id answers true');
  return record;
}

/** Asserts that exactly this record is stored, with every property and no other. */
export async function assertStored(backend: SessionBackend, expected: SessionRecord, hint = ''): Promise<void> {
  const stored = await backend.read(expected.id);
  assert.ok(stored, `there is no record ${expected.id} ${hint}`);
  assert.deepEqual({ ...stored }, expected, hint === '' ? undefined : `the stored record differs ${hint}`);
}

export async function assertAbsent(backend: SessionBackend, id: string, hint = ''): Promise<void> {
  assert.equal(await backend.read(id), undefined, `there is a record ${JSON.stringify(id)} ${hint}`);
}

export async function idsOf(backend: SessionBackend, principal: string): Promise<string[]> {
  return Array.from(await backend.listByPrincipal(principal), record => record.id).sort();
}

export async function assertListed(backend: SessionBackend, principal: string, ids: readonly string[]): Promise<void> {
  assert.deepEqual(await idsOf(backend, principal), [...ids].sort(), `the ids listed for ${JSON.stringify(principal)}`);
}

/** Returns an array of the suite's own realm, because the ids may come from another realm or process. */
export async function endAll(backend: SessionBackend, principal: string, exceptId?: string): Promise<string[]> {
  const ended =
    exceptId === undefined ? backend.deleteByPrincipal(principal) : backend.deleteByPrincipal(principal, exceptId);
  return Array.from(await ended);
}
