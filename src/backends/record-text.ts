import type { RecordHead } from '../core/inventory.js';
import type { LaterRecord, SessionRecord } from '../core/record.js';

/**
 * The version of the format below. It is the first word of a record's text, for engines that store strings:
 *
 *     s1 version lastSeenAt expiresAt [principal, createdAt, authenticatedAt, ip, userAgent, proof, isJson]⏎data
 *
 * The fields that an engine compares or changes by itself follow, separated by spaces, so that its scripts need no JSON. The
 * data comes last and unencoded, because JSON within JSON takes longer to read and more room.
 */
export const RECORD_FORMAT = 's1';

/** @returns the text of a record */
export function encodeRecord(record: SessionRecord): string {
  const { principal, version, createdAt, authenticatedAt, lastSeenAt, expiresAt, ip, userAgent, proof } = record;
  const isText = isWellFormed(record.data);
  const rest = [principal ?? null, createdAt, authenticatedAt, ip ?? null, userAgent ?? null, proof, isText ? 0 : 1];
  const data = isText ? record.data : JSON.stringify(record.data);
  return `${RECORD_FORMAT} ${version} ${lastSeenAt} ${expiresAt} ${JSON.stringify(rest)}\n${data}`;
}

/**
 * @returns the record of a text that {@link encodeRecord} made. Any other text gives a record without a version and times,
 *   which the library does not accept as a session; one of a later format is marked as such.
 */
export function decodeRecord(id: string, text: string): SessionRecord & Partial<LaterRecord> {
  const usual = USUAL.exec(text);
  if (!usual) return decodeUnusual(id, text);
  const [line, version, lastSeenAt, expiresAt, principal, createdAt, authenticatedAt, ip, userAgent, proof = ''] =
    usual;
  const record: SessionRecord = {
    id,
    data: text.slice(line.length),
    proof,
    version: Number(version),
    createdAt: Number(createdAt),
    authenticatedAt: Number(authenticatedAt),
    lastSeenAt: Number(lastSeenAt),
    expiresAt: Number(expiresAt),
  };
  if (principal !== undefined) record.principal = principal;
  if (ip !== undefined) record.ip = ip;
  if (userAgent !== undefined) record.userAgent = userAgent;
  return record;
}

function decodeUnusual(id: string, text: string): SessionRecord & Partial<LaterRecord> {
  const lineEnd = text.indexOf('\n');
  const head = HEAD.exec(text.slice(0, Math.max(lineEnd, 0)));
  const rest = head && (parse(head[4] ?? '') as Rest | undefined);
  const data = rest?.[6] === 1 ? parse(text.slice(lineEnd + 1)) : text.slice(lineEnd + 1);
  if (!head || rest?.length !== 7 || typeof data !== 'string') {
    const times = { createdAt: NaN, authenticatedAt: NaN, lastSeenAt: NaN, expiresAt: NaN };
    const [, laterFormat] = LATER.exec(text) ?? [];
    return { id, data: text, proof: '', version: NaN, ...times, ...(laterFormat === undefined ? {} : { laterFormat }) };
  }

  const [principal, createdAt, authenticatedAt, ip, userAgent, proof] = rest;
  const record: SessionRecord = {
    id,
    data,
    proof,
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

/**
 * Returns whether a record was made before an instant. One of a later format counts as such, because it may be a session, and
 * its time cannot be read.
 */
export function isMadeBefore(record: SessionRecord & Partial<LaterRecord>, before: number): boolean {
  return record.createdAt < before || record.laterFormat !== undefined;
}

/** Returns what an operator may see of a record, without the times of one of a later format; `[]` for other text. */
export function headsOf(record: SessionRecord & Partial<LaterRecord>, bytes: number): RecordHead[] {
  const { id, principal, createdAt, lastSeenAt, expiresAt, laterFormat } = record;
  if (!Number.isFinite(createdAt) && laterFormat === undefined) return [];
  const head = { id, createdAt, lastSeenAt, expiresAt, bytes };
  return [principal === undefined ? head : { ...head, principal }];
}

const WHOLE = '(0|[1-9]\\d*)';
const TEXT = '"([^"\\\\\\x00-\\x1f]*)"';
const TEXT_OR_NULL = `(?:null|${TEXT})`;

/** The line of nearly every record: whole numbers, and text without escapes. It takes half the time of JSON. */
const USUAL = new RegExp(
  `^${RECORD_FORMAT} ${WHOLE} ${WHOLE} ${WHOLE} ` +
    `\\[${TEXT_OR_NULL},${WHOLE},${WHOLE},${TEXT_OR_NULL},${TEXT_OR_NULL},${TEXT},0\\]\\n`,
);

const HEAD = new RegExp(`^${RECORD_FORMAT} (\\d+) (\\S+) (\\S+) (\\[.*\\])$`, 's');

/** `s` and a number that is not 1. */
const LATER = /^(s(?!1 )[1-9]\d{0,8}) /;

type Rest = [
  principal: string | null,
  createdAt: number,
  authenticatedAt: number,
  ip: string | null,
  userAgent: string | null,
  proof: string,
  isJson: 0 | 1,
];

function parse(json: string): unknown {
  try {
    return JSON.parse(json);
  } catch {
    return undefined;
  }
}

/** @returns whether a string is free of lone surrogates, which UTF-8 cannot carry */
export function isWellFormed(text: string): boolean {
  return !/\p{Surrogate}/u.test(text);
}
