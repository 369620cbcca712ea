import { decodeRecord, encodeRecord } from '../../src/backends/record-text.js';
import type { SessionRecord } from '../../src/core/record.js';
import { sessionRecord } from '../support/session-record.js';

const USUAL = 's1 1 2 3 ["ada",4,5,"::1","Firefox, 1","proof",0]\n{"n":1}';

describe('the text of a record', () => {
  it('is laid out as it always was', () => {
    const record: SessionRecord = {
      ...{ id: 'id', principal: 'ada', data: '{"n":1}', proof: 'proof', version: 1, lastSeenAt: 2, expiresAt: 3 },
      ...{ createdAt: 4, authenticatedAt: 5, ip: '::1', userAgent: 'Firefox, 1' },
    };
    expect(encodeRecord(record)).toBe(USUAL);
    expect(decodeRecord('id', USUAL)).toEqual(record);
  });

  it.each<[string, Partial<SessionRecord>]>([
    ['without what is optional', {}],
    ['with text of no length', { principal: '', ip: '', userAgent: '', proof: '', data: '' }],
    ['with the words of its own syntax', { principal: 'null', ip: 'null,1', userAgent: '],0]', data: 's1 1\n2' }],
    ['with a quotation mark', { principal: '"ada"', proof: '"' }],
    ['with a backslash', { userAgent: '\\', proof: '\\"' }],
    ['with a line end', { principal: 'a\nb', userAgent: '\r\n', data: '\n' }],
    ['with a NUL', { principal: '\0', data: '\0' }],
    ['with characters of other scripts', { principal: '漢😀\u2028', userAgent: 'é', data: '{"a":"漢😀"}' }],
    ['with a lone surrogate', { principal: '\ud800', proof: 'a\udc00', data: '{"a":"\ud83d"}' }],
    ['with times between milliseconds', { createdAt: 0.5, authenticatedAt: 1.25, lastSeenAt: 2.5, expiresAt: 1e-7 }],
    ['with times far away', { createdAt: -1, authenticatedAt: 0, lastSeenAt: 2 ** 53, expiresAt: 1.7e300 }],
  ])('gives back a record %s', (_, changes) => {
    const record = sessionRecord(changes);
    expect(decodeRecord(record.id, encodeRecord(record))).toEqual(record);
  });

  it.each([
    ['a number that is not JSON', USUAL.replace(',4,', ',04,')],
    ['an escape that is not JSON', USUAL.replace('proof', '\\x')],
    ['a control character that is not JSON', USUAL.replace('proof', '\t')],
    ['a field more', USUAL.replace(',0]', ',0,0]')],
    ['a field less', USUAL.replace('"ada",', '')],
    ['another line first', `\n${USUAL}`],
    ['no data', USUAL.replace('\n', ' ')],
  ])('is not a record with %s', (_, text) => {
    expect(decodeRecord('id', text)).toEqual({
      ...{ id: 'id', data: text, proof: '', version: NaN },
      ...{ createdAt: NaN, authenticatedAt: NaN, lastSeenAt: NaN, expiresAt: NaN },
    });
  });
});
