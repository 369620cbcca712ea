import { Secret, TOTP } from 'otpauth';

import type { Otp, OtpTable } from './otp-table.js';

/** The wrong code of this number, and each later one, is followed by a pause, twice as long as the one before. */
export const FAILURES_BEFORE_PAUSE = 5;
/** Milliseconds. */
const FIRST_PAUSE = 60_000;
const LONGEST_PAUSE = 24 * 3600 * 1000;

/** `retryAfter` is in seconds. */
export type Outcome = { is: 'right' | 'wrong' | 'not set up' } | { is: 'paused'; retryAfter: number };

/** Codes of six digits that change every 30 seconds (RFC 6238). Each counts once. */
export class OneTimeCodes {
  constructor(
    private readonly table: OtpTable,
    private readonly clock: () => number = Date.now,
  ) {}

  /**
   * Makes a secret, in the place of one that was not confirmed.
   *
   * @returns the URI for the user's device, which is not to be had again; `undefined` if the user has a confirmed secret
   */
  async enrol(username: string): Promise<string | undefined> {
    const before = await this.table.read(username);
    if (before?.isConfirmed) return undefined;
    const secret = new Secret().base32;
    const after = { secret, isConfirmed: false, lastStep: -1, failures: 0, pausedUntil: 0 };
    if (!(await this.table.replace(username, before, after))) return this.enrol(username);
    return totpOf(secret, username).toString();
  }

  /** Checks the first code of a new secret. From a right one on, the secret counts. */
  confirm(username: string, code: string): Promise<Outcome> {
    return this.#check(username, code, false);
  }

  /** Checks a code of a confirmed secret. */
  check(username: string, code: string): Promise<Outcome> {
    return this.#check(username, code, true);
  }

  remove(username: string): Promise<void> {
    return this.table.delete(username);
  }

  /** Tells the outcome only once it is stored, so that parallel requests can neither use a code twice nor guess more often. */
  async #check(username: string, code: string, isConfirmed: boolean): Promise<Outcome> {
    const before = await this.table.read(username);
    if (before?.isConfirmed !== isConfirmed) return { is: 'not set up' };
    const now = this.clock();
    if (now < before.pausedUntil) return { is: 'paused', retryAfter: Math.ceil((before.pausedUntil - now) / 1000) };
    const step = stepOf(code, before.secret, now);
    const isRight = step !== undefined && step > before.lastStep;
    const after = isRight ? { ...before, isConfirmed: true, lastStep: step, failures: 0 } : failed(before, now);
    if (!(await this.table.replace(username, before, after))) return this.#check(username, code, isConfirmed);
    return { is: isRight ? 'right' : 'wrong' };
  }
}

/** The time step to which a code belongs: this one, the one before or the one after, because clocks differ and typing takes time. */
function stepOf(code: string, secret: string, now: number): number | undefined {
  const totp = totpOf(secret);
  const delta = totp.validate({ token: code, timestamp: now, window: 1 });
  return delta === null ? undefined : totp.counter({ timestamp: now }) + delta;
}

function totpOf(secret: string, label?: string): TOTP {
  return new TOTP({ issuer: 'Example', secret, ...(label !== undefined && { label }) });
}

function failed(before: Otp, now: number): Otp {
  const failures = before.failures + 1;
  const doublings = failures - FAILURES_BEFORE_PAUSE;
  const pause = doublings < 0 ? 0 : Math.min(FIRST_PAUSE * 2 ** doublings, LONGEST_PAUSE);
  return { ...before, failures, pausedUntil: now + pause };
}
