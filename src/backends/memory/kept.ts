import type { SessionRecord } from '../../core/record.js';
import type { Grouped, Member } from './groups.js';

/** `JSON.stringify` leaves a text in parts, which take half as much again. A regular expression makes V8 join them. */
const ANY = /^/;

/** The instant from which log-ins are counted. */
const START = Date.now();

/** A record as it is kept: one object, with its places in the lists. */
export class Kept implements Grouped<Kept> {
  principal: string | undefined;
  data!: string;
  proof!: string;
  version!: number;
  ip: string | undefined;
  userAgent: string | undefined;

  /** Its neighbours in the LRU list. */
  earlier: Kept | undefined;
  later: Kept | undefined;
  /** Its place among the sessions of its principal and of its address, if there are several. */
  ofPrincipal: Member<Kept> | undefined;
  ofAddress: Member<Kept> | undefined;

  /*
   * Milliseconds from `START` to the log-in, and from there to the other times. V8 keeps whole numbers below 2^31, which are 25
   * days, in the field itself. It would give them an object each if the field had held numbers only: hence the `undefined`.
   */
  private created = undefined as unknown as number;
  private authenticated = undefined as unknown as number;
  private lastSeen = undefined as unknown as number;
  private expires = undefined as unknown as number;

  constructor(readonly id: string) {}

  get createdAt(): number {
    return START + this.created;
  }

  get lastSeenAt(): number {
    return this.createdAt + this.lastSeen;
  }

  get expiresAt(): number {
    return this.createdAt + this.expires;
  }

  /** Returns a copy of the record. */
  get record(): SessionRecord {
    const { id, principal, data, proof, version, createdAt, lastSeenAt, expiresAt, ip, userAgent } = this;
    const authenticatedAt = createdAt + this.authenticated;
    const record: SessionRecord =
      principal === undefined
        ? { id, data, proof, version, createdAt, authenticatedAt, lastSeenAt, expiresAt }
        : { id, principal, data, proof, version, createdAt, authenticatedAt, lastSeenAt, expiresAt };
    if (ip !== undefined) record.ip = ip;
    if (userAgent !== undefined) record.userAgent = userAgent;
    return record;
  }

  write(record: SessionRecord, version: number): void {
    const { principal, data, proof, createdAt, authenticatedAt, ip, userAgent } = record;
    ANY.test(data);
    this.principal = principal;
    this.data = data;
    this.proof = proof;
    this.version = version;
    this.created = createdAt - START;
    this.ip = ip;
    this.userAgent = userAgent;
    this.authenticated = authenticatedAt - createdAt;
    this.touch(record.lastSeenAt, record.expiresAt);
  }

  touch(lastSeenAt: number, expiresAt: number): void {
    this.lastSeen = lastSeenAt - this.createdAt;
    this.expires = expiresAt - this.createdAt;
  }
}
