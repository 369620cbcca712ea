import crypto, { createHash, createHmac } from 'node:crypto';

import { Tokens } from '../../src/cookie/tokens.js';
import { seed } from '../support/seed.js';

const A = 'a'.repeat(32);
const B = 'b'.repeat(32);

const tokens = new Tokens([A], 'session');

/** What a token says, worked out from its text. */
function partsOf(token: string): { id: string; hash: string } {
  const [id = '', secret = ''] = token.split('.');
  return { id, hash: createHash('sha256').update(Buffer.from(secret, 'base64url')).digest('base64url') };
}

afterEach(() => jest.restoreAllMocks());

describe('Tokens.mint', () => {
  test('makes an id of 16 bytes, a secret and a MAC of 32 bytes each, and the hash of the secret', () => {
    const { token, ...parts } = tokens.mint();
    expect(token).toMatch(/^[\w-]{22}\.[\w-]{43}\.[\w-]{43}$/);
    expect(parts).toEqual(partsOf(token));
    expect(tokens.verify(token)).toEqual(parts);
  });

  test('makes another secret for an existing session', () => {
    const first = tokens.mint();
    const second = tokens.mint(first.id);
    expect(second.id).toBe(first.id);
    expect(second.hash).not.toBe(first.hash);
    expect(tokens.verify(second.token)).toEqual({ id: first.id, hash: second.hash });
  });

  test('20,000 tokens: no id and no secret twice, and each of their 384 bits is set in half of them', () => {
    const count = 20_000;
    const minted = Array.from({ length: count }, () => tokens.mint().token.split('.').slice(0, 2));
    for (const part of [0, 1]) expect(new Set(minted.map(parts => parts[part])).size).toBe(count);
    const set = new Array<number>(384).fill(0);
    for (const parts of minted) {
      const bytes = Buffer.concat(parts.map(part => Buffer.from(part, 'base64url')));
      for (let bit = 0; bit < 384; bit++) set[bit]! += (bytes[bit >> 3]! >> (bit & 7)) & 1;
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
  const { token, ...parts } = tokens.mint();
  const [id = '', secret = '', mac = ''] = token.split('.');
  const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_';

  test('the same bytes in another spelling are malformed: only canonical base64url counts', () => {
    // The last character of 32 bytes carries four bits, that of 16 bytes two: others decode to the same bytes.
    const spellings = (part: string, others: number) => {
      const value = alphabet.indexOf(part.at(-1)!);
      return Array.from({ length: others }, (_, low) => part.slice(0, -1) + alphabet[value + low + 1]!);
    };
    const others = [
      ...spellings(id, 15).map(other => `${other}.${secret}.${mac}`),
      ...spellings(secret, 3).map(other => `${id}.${other}.${mac}`),
      ...spellings(mac, 3).map(other => `${id}.${secret}.${other}`),
    ];
    const bytesOf = (of: string) => of.split('.').map(part => Buffer.from(part, 'base64url').toString('hex'));
    for (const other of others) expect(bytesOf(other)).toEqual(bytesOf(token));
    expect(others.map(other => tokens.verify(other))).toEqual(others.map(() => 'malformed'));
  });

  test.each([
    ['nothing', ''],
    ['an id alone', id],
    ['an id and a secret', `${id}.${secret}`],
    ['an id, a secret and a dot', `${id}.${secret}.`],
    ['a secret and a MAC', `${secret}.${mac}`],
    ['a MAC cut short', token.slice(0, -1)],
    ['one character more', `${token}A`],
    ['padding', `${id}.${secret}=.${mac.slice(0, -1)}`],
    ['standard base64', `${id}.${'+/'.repeat(21)}A.${mac}`],
    ['percent-encoding', encodeURIComponent(token).replace('.', '%2E')],
    ['quotes', `"${token}"`],
    ['a space before', ` ${token.slice(1)}`],
    ['a line break at the end', `${token.slice(0, -1)}\n`],
    ['two dots in a row', `${id}..${secret}.${mac.slice(0, -1)}`],
    ['a dot in another place', `${id}${secret.slice(0, 1)}.${secret.slice(1)}.${mac}`],
    ['no dots', `${id}A${secret}A${mac}`],
    ['letters outside ASCII', `é${token.slice(1)}`],
  ])('%s is malformed', (_, value) => {
    expect(tokens.verify(value)).toBe('malformed');
  });

  test('each single bit of the token counts: 640 flipped, none accepted', () => {
    const raw = Buffer.concat([id, secret, mac].map(part => Buffer.from(part, 'base64url')));
    expect(raw).toHaveLength(80);
    const accepted: number[] = [];
    for (let bit = 0; bit < 640; bit++) {
      const flipped = Buffer.from(raw);
      flipped[bit >> 3]! ^= 1 << (bit & 7);
      const texts = [flipped.subarray(0, 16), flipped.subarray(16, 48), flipped.subarray(48)];
      if (tokens.verify(texts.map(part => part.toString('base64url')).join('.')) !== 'signature') accepted.push(bit);
    }
    expect(accepted).toEqual([]);
  });

  test('100,000 generated values of the right form, and none of them is accepted', () => {
    const part = (of: string) => createHash('sha256').update(`${seed} ${of}`).digest();
    const values = Array.from({ length: 100_000 }, (_, n) =>
      [part(`id ${n}`).subarray(0, 16), part(`secret ${n}`), part(`MAC ${n}`)]
        .map(bytes => bytes.toString('base64url'))
        .join('.'),
    );
    const wrong = values.filter(value => tokens.verify(value) !== 'signature').length;
    expect({ tried: values.length, wrong }).toEqual({ tried: 100_000, wrong: 0 });
  });

  test('a token that was found right is found right again, and another MAC on it still is not', () => {
    expect(tokens.verify(token)).toEqual(parts);
    expect(tokens.verify(token)).toEqual(parts);
    const forged = `${id}.${secret}.${mac.startsWith('A') ? 'B' : 'A'}${mac.slice(1)}`;
    expect(tokens.verify(forged)).toBe('signature');
    expect(tokens.verify(token)).toEqual(parts);
  });

  test('a MAC over another purpose, another name, another id or the bare secret is refused', () => {
    const withMac = (bytes: Buffer) => `${id}.${secret}.${bytes.toString('base64url')}`;
    const sign = (text: string) => withMac(createHmac('sha256', A).update(text).digest());
    const purpose = 'routing-controllers-sessions/token/2';
    const signed = `${id}.${secret}`;
    expect(tokens.verify(sign(`${purpose}\0session\0${signed}`))).toEqual(parts);
    for (const text of [
      secret,
      signed,
      `session\0${signed}`,
      `${purpose}\0${signed}`,
      `${purpose}\0admin\0${signed}`,
      `${purpose}\0session\0${secret}`,
      `${purpose}\0session\0${tokens.mint().id}.${secret}`,
      `routing-controllers-sessions/token/1\0session\0${signed}`,
    ])
      expect(tokens.verify(sign(text))).toBe('signature');
    const sha1 = createHmac('sha1', A).update(`${purpose}\0session\0${signed}`).digest();
    expect(tokens.verify(withMac(Buffer.concat([sha1, Buffer.alloc(12)])))).toBe('signature');
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

  test('an empty ring accepts nothing, and an empty key matches no other', () => {
    expect(new Tokens([], 'session').verify(token)).toBe('signature');
    const underEmptyKey = `${id}.${secret}.${createHmac('sha256', '').update(secret).digest('base64url')}`;
    expect(tokens.verify(underEmptyKey)).toBe('signature');
  });
});

describe('A ring of keys', () => {
  test('signs with the first and verifies with all', () => {
    const old = new Tokens([A], 'session').mint();
    const ring = new Tokens([B, A], 'session');
    const verified = ring.verify(old.token);
    expect(verified).toMatchObject(partsOf(old.token));
    expect(new Tokens([A], 'session').verify(ring.mint().token)).toBe('signature');
    const fresh = ring.mint().token;
    expect(new Tokens([B], 'session').verify(fresh)).toEqual(partsOf(fresh));
  });

  test('returns a new signature of a token under an older key, and none for one under the first key', () => {
    const old = new Tokens([A], 'session').mint();
    const ring = new Tokens([B, A], 'session');
    const verified = ring.verify(old.token) as { id: string; reissue: string };
    expect(new Tokens([B], 'session').verify(verified.reissue)).toEqual(partsOf(old.token));
    expect(ring.verify(verified.reissue)).toEqual(partsOf(old.token));
    // Again, now that both are remembered.
    expect(ring.verify(old.token)).toEqual(verified);
  });

  test('a removed key accepts nothing', () => {
    const old = new Tokens([A], 'session').mint();
    expect(new Tokens([B], 'session').verify(old.token)).toBe('signature');
  });
});
