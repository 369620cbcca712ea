import { inventoryOf, type RecordHead } from '../core/inventory.js';
import { Failure } from './failure.js';
import type { OpenStore } from './open-store.js';
import { instant, table } from './printer.js';

const HOUR = 3_600_000;
const DAY = 24 * HOUR;

/** The ages that are counted: up to so many milliseconds. */
const AGES: readonly (readonly [string, number])[] = [
  ['under 1 hour', HOUR],
  ['1 hour to 1 day', DAY],
  ['1 to 7 days', 7 * DAY],
  ['7 to 30 days', 30 * DAY],
  ['30 days and more', Infinity],
];

/** The numbers of sessions of a principal that are told apart: up to so many. */
const CROWDS: readonly (readonly [string, number])[] = [
  ['1', 1],
  ['2 to 5', 5],
  ['6 to 20', 20],
  ['21 to 100', 100],
  ['more than 100', Infinity],
];

/** The numbers of a store. */
export interface Stats {
  store: string;
  time: string;
  /** Records, expired ones included. */
  records: number;
  living: number;
  /** Those that have expired and are still there. */
  expired: number;
  oldestExpired: string | null;
  /** Records of a later format, whose times cannot be read. */
  unknown: number;
  anonymous: number;
  ages: Record<string, number>;
  principals: { count: number; bySessions: Record<string, number>; largest: { principal: string; sessions: number }[] };
  bytes: { records: number; store: number | null };
}

/** Looks through a store, and counts. Ages are those of the living. */
export async function statsOf({ backend, address }: OpenStore, now: number, top: number): Promise<Stats> {
  const inventory = inventoryOf(backend);
  if (!inventory) throw new Failure('this store does not let itself be looked through');
  const principals = new Map<string, number>();
  const ages = counter(AGES);
  let [records, living, expired, unknown, anonymous, bytes, oldest] = [0, 0, 0, 0, 0, 0, Infinity];
  const count = (head: RecordHead): void => {
    records++;
    bytes += head.bytes;
    if (!Number.isFinite(head.expiresAt)) unknown++;
    else if (head.expiresAt <= now) {
      expired++;
      oldest = Math.min(oldest, head.expiresAt);
    } else {
      living++;
      ages.add(now - head.createdAt, 1);
      if (head.principal === undefined) anonymous++;
      else principals.set(head.principal, (principals.get(head.principal) ?? 0) + 1);
    }
  };
  for await (const heads of inventory.heads()) heads.forEach(count);
  const crowds = counter(CROWDS);
  for (const sessions of principals.values()) crowds.add(sessions, 0);
  const largest = largestOf(principals, top).map(([principal, sessions]) => ({ principal, sessions }));
  return {
    store: address.shown,
    time: instant(now),
    records,
    living,
    expired,
    oldestExpired: expired === 0 ? null : instant(oldest),
    unknown,
    anonymous,
    ages: ages.counts,
    principals: { count: principals.size, bySessions: crowds.counts, largest },
    bytes: { records: bytes, store: (await inventory.bytes()) ?? null },
  };
}

/** Counts values by the first bound that is not below them; with `isBelow` 1, that is above them. */
function counter(bounds: readonly (readonly [string, number])[]): {
  counts: Record<string, number>;
  add: (value: number, isBelow: 0 | 1) => void;
} {
  const counts: Record<string, number> = Object.fromEntries(bounds.map(([name]) => [name, 0]));
  const add = (value: number, isBelow: 0 | 1): void => {
    const [name] = bounds.find(([, bound]) => (isBelow === 1 ? value < bound : value <= bound)) ?? [];
    if (name !== undefined) counts[name] = (counts[name] ?? 0) + 1;
  };
  return { counts, add };
}

/** Returns the principals with the most sessions, without sorting all of them. */
function largestOf(principals: ReadonlyMap<string, number>, top: number): [string, number][] {
  let largest: [string, number][] = [];
  for (const entry of principals) {
    if (largest.length >= 2 * top) largest = largest.sort(byNumber).slice(0, top);
    largest.push(entry);
  }
  return largest.sort(byNumber).slice(0, top);
}

function byNumber([one, a]: [string, number], [other, b]: [string, number]): number {
  return b - a || (one < other ? -1 : 1);
}

/** Returns the numbers for people. */
export function shownStats(stats: Stats): string {
  const { bytes, principals } = stats;
  const whole: [string, number | string][] = [
    ['records', stats.records],
    ['  living', stats.living],
    ['    without a principal', stats.anonymous],
    ['  expired, not removed yet', stats.expired],
    ...(stats.unknown > 0 ? [['  of a later version', stats.unknown] as [string, number]] : []),
    ['bytes of records', bytes.records],
    ...(bytes.store === null ? [] : [['bytes of the store', bytes.store] as [string, number]]),
  ];
  const overdue = stats.oldestExpired === null ? '' : `\nthe oldest expired at ${stats.oldestExpired}`;
  const parts = [
    table(whole) + overdue,
    table([['age', 'sessions'], ...Object.entries(stats.ages)]),
    table([['sessions of one principal', 'principals'], ...Object.entries(principals.bySessions)]),
  ];
  if (principals.largest.length > 0)
    parts.push(table([['principal', 'sessions'], ...principals.largest.map(one => [one.principal, one.sessions])]));
  return parts.join('\n\n');
}
