import type { BoundExtent } from './bounds.js';
import type { Order, Questions } from './bounds/worker.js';
import { isThere } from './engines.js';
import { Launch } from './launch.js';
import { COSTED, type Costed } from './measure.js';
import { quartilesOf, type Spread } from './statistics.js';
import { type Engines, type Subject, SUBJECTS } from './subject.js';

/** CPU time that a session adds to each route, in microseconds. */
export interface CostResult {
  subject: Subject;
  added: Record<Costed, Spread>;
}

type Reading = Record<Costed, number>;

/** The number of requests at a time: as many as the connections of the measurements over HTTP. */
const AT_ONCE = 50;

const WARM_UP_ROUNDS = 6;
const ANSWER_WITHIN = 120_000;

/**
 * Measures what each session adds to the same routes without one. Requests are sent within the servers' processes, in short rounds
 * in turn, so that what else runs on the machine touches all of them alike.
 */
export async function measureCosts(
  engines: Engines,
  { launches, rounds }: BoundExtent,
  wanted: (subject: Subject) => boolean,
  say: (what: string) => void,
): Promise<CostResult[]> {
  const subjects = SUBJECTS.filter(({ store }) => isThere(store, engines)).filter(wanted);
  const taken: Map<string, Reading>[] = [];
  for (let launch = 0; launch < launches; launch++) taken.push(...(await roundsOf(subjects, engines, rounds, say)));
  return subjects
    .filter(({ store }) => store !== 'none')
    .map(subject => {
      const base = SUBJECTS.find(({ stack, store }) => stack === subject.stack && store === 'none');
      const of = (name: Costed): Spread =>
        quartilesOf(
          taken.map(round => (round.get(subject.id)?.[name] ?? NaN) - (round.get(base?.id ?? '')?.[name] ?? NaN)),
        );
      return { subject, added: byRoute(of) };
    });
}

async function roundsOf(
  subjects: readonly Subject[],
  engines: Engines,
  rounds: number,
  say: (what: string) => void,
): Promise<Map<string, Reading>[]> {
  const servers = new Map<string, Launch<Questions>>();
  for (const { id, module, store } of subjects) {
    const order: Order = { module, store, engines };
    servers.set(id, await Launch.start<Questions>('bounds/worker', order, ANSWER_WITHIN));
  }
  const taken: Map<string, Reading>[] = [];
  try {
    for (let round = -WARM_UP_ROUNDS; round < rounds; round++) {
      say(`costs, round ${round + 1} of ${rounds}`);
      const readings = new Map<string, Reading>();
      for (const [id, server] of round % 2 === 0 ? servers : [...servers].reverse()) {
        const reading: Partial<Reading> = {};
        for (const route of COSTED) reading[route] = await server.ask('request', { atOnce: AT_ONCE, route });
        readings.set(id, reading as Reading);
      }
      if (round >= 0) taken.push(readings);
    }
  } finally {
    for (const server of servers.values()) await server.close();
  }
  return taken;
}

function byRoute<V>(value: (route: Costed) => V): Record<Costed, V> {
  return Object.fromEntries(COSTED.map(route => [route, value(route)])) as Record<Costed, V>;
}
