import crypto, { createHash, createHmac } from 'node:crypto';

import { Tokens } from '../../src/cookie/tokens.js';
import { seed } from '../support/seed.js';

const A = 'a'.repeat(32);
const B = 'b'.repeat(32);

const tokens = new Tokens([A], 'session');

function idOf(token: string): string {
  const secret = Buffer.from(token.slice(0, 43), 'base64url');
  return createHash('sha256').update(secret).digest('base64url');
}

afterEach(() => jest.restoreAllMocks());

describe('Tokens.mint', () => {
  test('makes a secret and a MAC of 32 bytes each, and the id that is the hash of the secret', () => {
    const { token, id } = tokens.mint();
    expect(token).toMatch(/^[\w-]{43}\.[\w-]{43}$/);
    expect(id).toBe(idOf(token));
    expect(tokens.verify(token)).toEqual({ id });
  });

  test('20,000 tokens: none twice, and each of the 256 bits is set in half of them', () => {
    const count = 20_000;
    const secrets = Array.from({ length: count }, () => tokens.mint().token.slice(0, 43));
    expect(new Set(secrets).size).toBe(count);
    const set = new Array<number>(256).fill(0);
    for (const secret of secrets) {
      const bytes = Buffer.from(secret, 'base64url');
      for (let bit = 0; bit < 256; bit++) set[bit]! += (bytes[bit >> 3]! >> (bit & 7)) & 1;
    }
    // Seven standard deviations: less than one false alarm in a billion runs.
    const allowed = 7 * Math.sqrt(count / 4);
    expect(set.filter(times => Math.abs(times - count / 2) > allowed)).toEqual([]);
  });

  test('throws when the ring is empty', () => {
    expect(() => new Tokens([], 'session').mint()).toThrow(RangeError);
  });
});

describe('Tokens.verify', () => {
  const { token, id } = tokens.mint();
  const [secret = '', mac = ''] = token.split('.');
  const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_';

  test('the same bytes in another spelling are malformed: only canonical base64url counts', () => {
    // The last character carries four bits: three other characters decode to the same bytes.
    const spellings = (part: string) => {
      const value = alphabet.indexOf(part.at(-1)!);
      return [1, 2, 3].map(low => part.slice(0, -1) + alphabet[value + low]!);
    };
    const others = [
      ...spellings(secret).map(other => `${other}.${mac}`),
      ...spellings(mac).map(other => `${secret}.${other}`),
    ];
    for (const other of others) expect(Buffer.from(other.replace('.', ''), 'base64url')).toHaveLength(64);
    expect(others.map(other => tokens.verify(other))).toEqual(others.map(() => 'malformed'));
  });

  test.each([
    ['nothing', ''],
    ['a secret alone', secret],
    ['a secret and a dot', `${secret}.`],
    ['a MAC cut short', token.slice(0, -1)],
    ['one character more', `${token}A`],
    ['padding', `${secret}=.${mac.slice(0, -1)}`],
    ['standard base64', `${'+/'.repeat(21)}A.${mac}`],
    ['percent-encoding', encodeURIComponent(token).replace('.', '%2E')],
    ['quotes', `"${token}"`],
    ['a space before', ` ${token.slice(1)}`],
    ['a line break at the end', `${token.slice(0, -1)}\n`],
    ['two dots', token.replace('.', '..').slice(0, 87)],
    ['no dot', `${secret}A${mac}`],
    ['letters outside ASCII', `é${token.slice(1)}`],
  ])('%s is malformed', (_, value) => {
    expect(tokens.verify(value)).toBe('malformed');
  });

  test('each single bit of the token counts: 512 flipped, none accepted', () => {
    const bytes = Buffer.from(secret + mac, 'latin1');
    expect(bytes).toHaveLength(86);
    let tried = 0;
    const accepted: number[] = [];
    for (let bit = 0; bit < 512; bit++) {
      const raw = Buffer.concat([Buffer.from(secret, 'base64url'), Buffer.from(mac, 'base64url')]);
      raw[bit >> 3]! ^= 1 << (bit & 7);
      const flipped = `${raw.subarray(0, 32).toString('base64url')}.${raw.subarray(32).toString('base64url')}`;
      tried++;
      if (tokens.verify(flipped) !== 'signature') accepted.push(bit);
    }
    expect({ tried, accepted }).toEqual({ tried: 512, accepted: [] });
  });

  test('100,000 generated values of the right form, and none of them is accepted', () => {
    const part = (of: string) => createHash('sha256').update(`${seed} ${of}`).digest('base64url');
    const values = Array.from({ length: 100_000 }, (_, n) => `${part(`secret ${n}`)}.${part(`MAC ${n}`)}`);
    const wrong = values.filter(value => tokens.verify(value) !== 'signature');
    expect({ tried: values.length, wrong }).toEqual({ tried: 100_000, wrong: [] });
  });

  test('a token that was found right is found right again, and another MAC on its secret still is not', () => {
    expect(tokens.verify(token)).toEqual({ id });
    expect(tokens.verify(token)).toEqual({ id });
    const forged = `${secret}.${mac.startsWith('A') ? 'B' : 'A'}${mac.slice(1)}`;
    expect(tokens.verify(forged)).toBe('signature');
    expect(tokens.verify(token)).toEqual({ id });
  });

  test('a MAC over another purpose, another name or the bare secret is refused', () => {
    const sign = (text: string) => `${secret}.${createHmac('sha256', A).update(text).digest('base64url')}`;
    const purpose = 'routing-controllers-sessions/token/1';
    expect(tokens.verify(sign(`${purpose}\0session\0${secret}`))).toEqual({ id });
    for (const text of [secret, `session\0${secret}`, `${purpose}\0${secret}`, `${purpose}\0admin\0${secret}`])
      expect(tokens.verify(sign(text))).toBe('signature');
    const sha1 = `${secret}.${Buffer.concat([createHmac('sha1', A).update(`${purpose}\0session\0${secret}`).digest(), Buffer.alloc(12)]).toString('base64url')}`;
    expect(tokens.verify(sha1)).toBe('signature');
  });

  test("another cookie's token is refused, under the same secret", () => {
    expect(new Tokens([A], 'admin').verify(token)).toBe('signature');
  });

  test('the name and the secret cannot be shifted into each other', () => {
    expect(new Tokens([A], 'session\0').verify(token)).toBe('signature');
    expect(new Tokens([A], '').verify(token)).toBe('signature');
  });

  test('compares in constant time', () => {
    const timingSafeEqual = jest.spyOn(crypto, 'timingSafeEqual');
    const fresh = new Tokens([A, B], 'session');
    fresh.verify(new Tokens(['c'.repeat(32)], 'session').mint().token);
    expect(timingSafeEqual).toHaveBeenCalledTimes(2);
  });

  test('an empty ring accepts nothing, nor does a key that is empty match another', () => {
    expect(new Tokens([], 'session').verify(token)).toBe('signature');
    const underEmptyKey = `${secret}.${createHmac('sha256', '').update(secret).digest('base64url')}`;
    expect(tokens.verify(underEmptyKey)).toBe('signature');
  });
});

describe('A ring of keys', () => {
  test('signs with the first and verifies with all', () => {
    const old = new Tokens([A], 'session').mint();
    const ring = new Tokens([B, A], 'session');
    const verified = ring.verify(old.token);
    expect(verified).toMatchObject({ id: old.id });
    expect(new Tokens([A], 'session').verify(ring.mint().token)).toBe('signature');
    expect(new Tokens([B], 'session').verify(ring.mint().token)).toEqual({ id: expect.any(String) as string });
  });

  test('offers what an older key signed again under the first, and nothing for what the first signed', () => {
    const old = new Tokens([A], 'session').mint();
    const ring = new Tokens([B, A], 'session');
    const verified = ring.verify(old.token) as { id: string; reissue: string };
    expect(new Tokens([B], 'session').verify(verified.reissue)).toEqual({ id: old.id });
    expect(ring.verify(verified.reissue)).toEqual({ id: old.id });
    // Again, now that both are remembered.
    expect(ring.verify(old.token)).toEqual(verified);
  });

  test('a key that was taken out accepts nothing any more', () => {
    const old = new Tokens([A], 'session').mint();
    expect(new Tokens([B], 'session').verify(old.token)).toBe('signature');
  });
});
