import type { SessionRecord } from '../core/record.js';

/**
 * A record as one string, for engines that keep strings:
 *
 *     version lastSeenAt expiresAt [principal, createdAt, authenticatedAt, ip, userAgent, isJson]⏎data
 *
 * What an engine has to compare or to change by itself comes first, parted by spaces, so that it needs no JSON. The data
 * comes last and as it is, so that it is not JSON within JSON, which would take longer to read and more room.
 */
export function encodeRecord(record: SessionRecord): string {
  const { principal, version, createdAt, authenticatedAt, lastSeenAt, expiresAt, ip, userAgent } = record;
  const isText = isWellFormed(record.data);
  const rest = [principal ?? null, createdAt, authenticatedAt, ip ?? null, userAgent ?? null, isText ? 0 : 1];
  const data = isText ? record.data : JSON.stringify(record.data);
  return `${version} ${lastSeenAt} ${expiresAt} ${JSON.stringify(rest)}\n${data}`;
}

/**
 * The record that {@link encodeRecord} made the text of. Any other text gives a record with no version and no times, which
 * the library takes for what it is: something that is no session.
 */
export function decodeRecord(id: string, text: string): SessionRecord {
  const lineEnd = text.indexOf('\n');
  const head = /^(\d+) (\S+) (\S+) (\[.*\])$/s.exec(text.slice(0, Math.max(lineEnd, 0)));
  const rest = head && parseRest(head[4] ?? '');
  if (!rest)
    return { id, data: text, version: NaN, createdAt: NaN, authenticatedAt: NaN, lastSeenAt: NaN, expiresAt: NaN };

  const [principal, createdAt, authenticatedAt, ip, userAgent, isJson] = rest;
  const data = text.slice(lineEnd + 1);
  const record: SessionRecord = {
    id,
    data: isJson ? (JSON.parse(data) as string) : data,
    version: Number(head[1]),
    createdAt,
    authenticatedAt,
    lastSeenAt: Number(head[2]),
    expiresAt: Number(head[3]),
  };
  if (principal !== null) record.principal = principal;
  if (ip !== null) record.ip = ip;
  if (userAgent !== null) record.userAgent = userAgent;
  return record;
}

type Rest = [
  principal: string | null,
  createdAt: number,
  authenticatedAt: number,
  ip: string | null,
  userAgent: string | null,
  isJson: 0 | 1,
];

function parseRest(json: string): Rest | undefined {
  try {
    const rest: unknown = JSON.parse(json);
    return Array.isArray(rest) && rest.length === 6 ? (rest as Rest) : undefined;
  } catch {
    return undefined;
  }
}

/** Whether a string has no lone surrogates, which UTF-8 cannot carry. */
export function isWellFormed(text: string): boolean {
  return !/\p{Surrogate}/u.test(text);
}
