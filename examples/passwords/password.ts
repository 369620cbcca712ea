import { randomBytes, scrypt, type ScryptOptions, timingSafeEqual } from 'node:crypto';
import { promisify } from 'node:util';

const derive = promisify<string, Buffer, number, ScryptOptions, Buffer>(scrypt);

/** The first choice for scrypt in OWASP's Password Storage Cheat Sheet: 128 MB and about half a second for a password. */
export const COST = 2 ** 17;

/** @returns what to store: the cost, the salt and the hash */
export async function hashPassword(password: string, cost = COST): Promise<string> {
  const salt = randomBytes(16);
  const hash = await hashOf(password, salt, cost);
  return [cost, salt.toString('base64url'), hash.toString('base64url')].join('.');
}

/** Whether `stored` was made from the password. The answer takes the same time for every password. */
export async function verifyPassword(password: string, stored: string): Promise<boolean> {
  const [cost, salt = '', hash = ''] = stored.split('.');
  const computed = await hashOf(password, Buffer.from(salt, 'base64url'), Number(cost));
  return timingSafeEqual(computed, Buffer.from(hash, 'base64url'));
}

function hashOf(password: string, salt: Buffer, cost: number): Promise<Buffer> {
  // Two keyboards can send one letter as different characters: NFKC makes them the same.
  return derive(password.normalize('NFKC'), salt, 32, { N: cost, r: 8, p: 1, maxmem: 256 * cost * 8 });
}
