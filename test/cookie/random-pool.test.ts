import crypto from 'node:crypto';

import { RandomPool } from '../../src/cookie/random-pool.js';

/** The pool's own bytes: what was handed out is a part of them. */
let filled: Buffer[];

beforeEach(() => {
  filled = [];
  const fill = crypto.randomFillSync;
  jest.spyOn(crypto, 'randomFillSync').mockImplementation((pool: unknown) => {
    filled.push(Buffer.from(fill(pool as Buffer)));
    return pool as never;
  });
});

afterEach(() => jest.restoreAllMocks());

describe('RandomPool.take', () => {
  test('returns the bytes of the CSPRNG, each once and in order', () => {
    const pool = new RandomPool(32);
    const taken = Array.from({ length: 200 }, () => pool.take(secret => Buffer.from(secret)));
    expect(filled.length).toBeGreaterThan(1);
    expect(Buffer.concat(taken)).toEqual(Buffer.concat(filled).subarray(0, 200 * 32));
  });

  test('a secret is wiped once it was used, also when its use fails', () => {
    const pool = new RandomPool(32);
    const kept: Buffer[] = [];
    pool.take(secret => kept.push(secret));
    const failing = (secret: Buffer) => {
      kept.push(secret);
      throw new Error('no use');
    };
    expect(() => pool.take(failing)).toThrow('no use');
    expect(kept).toEqual([Buffer.alloc(32), Buffer.alloc(32)]);
  });

  test('throws the error of a failing generator, and calls it again the next time', () => {
    const pool = new RandomPool(32);
    jest.mocked(crypto.randomFillSync).mockImplementationOnce(() => {
      throw new Error('no entropy');
    });
    const use = jest.fn<undefined, [Buffer]>();
    expect(() => pool.take(use)).toThrow('no entropy');
    expect(use).not.toHaveBeenCalled();
    expect(pool.take(secret => secret.toString('hex'))).toBe(filled[0]?.toString('hex', 0, 32));
  });

  test('goes on failing while the generator does', () => {
    const pool = new RandomPool(32);
    for (let taken = 0; taken < 64; taken++) pool.take(() => undefined);
    jest.mocked(crypto.randomFillSync).mockImplementation(() => {
      throw new Error('no entropy');
    });
    expect(() => pool.take(() => undefined)).toThrow('no entropy');
    expect(() => pool.take(() => undefined)).toThrow('no entropy');
  });
});
