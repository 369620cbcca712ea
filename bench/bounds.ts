import { isThere } from './engines.js';
import { Launch } from './launch.js';
import type { Order, Questions } from './bounds/worker.js';
import { quartilesOf, type Spread } from './statistics.js';
import { type Engines, type Subject, SUBJECTS } from './subject.js';

/** The numbers of requests at a time. Drivers with a connection send what is asked at once in one go. */
export const AT_ONCE = [1, 50] as const;

/** CPU time of an authenticated read beside that of a hand-written session, in short rounds in turn. */
export interface BoundResult {
  subject: Subject;
  bound: Subject;
  /** By the number of requests at a time. */
  byLoad: Record<string, BoundFigures>;
}

export interface BoundFigures {
  /** What each adds to the route without a session, in microseconds. */
  ours: Spread;
  hand: Spread;
  /** The driver's own call, without a request. */
  call: Spread;
  /** What ours adds to what the hand-written one adds; and the same of a second process of the hand-written one: the noise. */
  ratio: Spread;
  control: Spread;
}

/** How often all are launched anew, and the rounds of each launch: short and many, so that what else runs on the machine touches all alike. */
export interface BoundExtent {
  launches: number;
  rounds: number;
}

/** Rounds after which compiled code has come to rest. */
const WARM_UP_ROUNDS = 12;

const ANSWER_WITHIN = 60_000;

/** Compares each backend for which a hand-written session is there. */
export async function measureBounds(
  engines: Engines,
  extent: BoundExtent,
  wanted: (subject: Subject) => boolean,
  say: (what: string) => void,
): Promise<BoundResult[]> {
  const results: BoundResult[] = [];
  for (const subject of SUBJECTS.filter(({ store }) => isThere(store, engines)).filter(wanted)) {
    const bound = SUBJECTS.find(({ id }) => id === subject.bound);
    if (!bound) continue;
    const byLoad: Record<string, BoundFigures> = {};
    for (const atOnce of AT_ONCE) {
      say(`beside a hand-written session, ${atOnce} at a time: ${subject.id}`);
      byLoad[atOnce] = await compare(subject, bound, engines, extent, atOnce);
    }
    results.push({ subject, bound, byLoad });
  }
  return results;
}

interface Reading {
  plain: number;
  ours: number;
  hand: number;
  again: number;
  call: number;
}

async function compare(
  subject: Subject,
  bound: Subject,
  engines: Engines,
  { launches, rounds }: BoundExtent,
  atOnce: number,
): Promise<BoundFigures> {
  const readings: Reading[] = [];
  for (let launch = 0; launch < launches; launch++)
    readings.push(...(await readingsOf(subject, bound, engines, rounds, atOnce)));
  return {
    ours: quartilesOf(readings.map(({ ours, plain }) => ours - plain)),
    hand: quartilesOf(readings.map(({ hand, plain }) => hand - plain)),
    call: quartilesOf(readings.map(({ call }) => call)),
    ratio: quartilesOf(readings.map(({ ours, hand, plain }) => (ours - plain) / (hand - plain))),
    control: quartilesOf(readings.map(({ again, hand, plain }) => (again - plain) / (hand - plain))),
  };
}

async function readingsOf(
  subject: Subject,
  bound: Subject,
  engines: Engines,
  rounds: number,
  atOnce: number,
): Promise<Reading[]> {
  const start = ({ module, store }: Pick<Subject, 'module' | 'store'>) => {
    const order: Order = { module, store, engines };
    return Launch.start<Questions>('bounds/worker', order, ANSWER_WITHIN);
  };
  const servers = {
    plain: await start({ module: 'plain', store: 'none' }),
    ours: await start(subject),
    hand: await start(bound),
    again: await start(bound),
  };
  const names = Object.keys(servers) as (keyof typeof servers)[];
  const readings: Reading[] = [];
  try {
    for (let round = -WARM_UP_ROUNDS; round < rounds; round++) {
      const reading: Reading = { plain: 0, ours: 0, hand: 0, again: 0, call: 0 };
      for (const name of round % 2 === 0 ? names : names.toReversed())
        reading[name] = await servers[name].ask('request', { atOnce, route: 'read' });
      reading.call = await servers.again.ask('call', atOnce);
      if (round >= 0) readings.push(reading);
    }
  } finally {
    for (const name of names) await servers[name].close();
  }
  return readings;
}
