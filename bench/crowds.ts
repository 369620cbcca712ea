import { type PrivateRedis } from './engines.js';
import { Launch } from './launch.js';
import { load, logIn } from './load.js';
import { spreadOf, type Spread } from './statistics.js';
import { type Engines, needsRedis, type Subject, SUBJECTS } from './subject.js';

/** Numbers of connections with one process, and of processes with the most connections. */
const CONNECTIONS = [1, 4, 16, 64] as const;
const PROCESSES = [1, 2, 4] as const;
const MOST = 64;

/** What is measured, by the ids in {@link SUBJECTS}. */
const IDS = ['bound-redis', 'ours-redis', 'bound-redis-near', 'ours-redis-near', 'bound-postgres', 'ours-postgres'];

/** The number of sessions. Each process reads all of them, as behind a load balancer. */
const SESSIONS = 640;

const READ = { method: 'GET', path: '/me' } as const;

/** An authenticated read over so many connections, which so many processes share. */
export interface Crowd {
  connections: number;
  processes: number;
}

export interface CrowdFigures {
  /** CPU time of the servers' processes for one request, in microseconds. */
  cpu: Spread;
  /** Requests a second. */
  throughput: Spread;
  /** Milliseconds. */
  p50: Spread;
  p99: Spread;
  /** The CPU time to that of the hand-written session in the same round. */
  ratio?: Spread;
}

export interface CrowdResult {
  subject: Subject;
  crowd: Crowd;
  figures: CrowdFigures;
}

export interface CrowdExtent {
  rounds: number;
  /** Requests that warm up each process. */
  warmUp: number;
  /** Seconds. */
  window: number;
}

interface Sample {
  cpu: number;
  throughput: number;
  p50: number;
  p99: number;
}

/** Measures an authenticated read with more and more connections and processes on one server of the engine. */
export async function measureCrowds(
  engines: Engines,
  extent: CrowdExtent,
  redis: PrivateRedis | undefined,
  wanted: (subject: Subject) => boolean,
  say: (what: string) => void,
): Promise<CrowdResult[]> {
  const subjects = SUBJECTS.filter(({ id }) => IDS.includes(id)).filter(wanted);
  const crowds: Crowd[] = [
    ...CONNECTIONS.map(connections => ({ connections, processes: 1 })),
    ...PROCESSES.slice(1).map(processes => ({ connections: MOST, processes })),
  ];
  const samples = new Map<string, Sample[]>();
  for (let round = 0; round < extent.rounds; round++) {
    for (const processes of PROCESSES) {
      const own = crowds.filter(crowd => crowd.processes === processes);
      for (const subject of round % 2 === 0 ? subjects : subjects.toReversed()) {
        say(`${processes} processes, round ${round + 1} of ${extent.rounds}: ${subject.id}`);
        for (const [crowd, sample] of await samplesOf(subject, engines, extent, own, processes)) {
          const key = keyOf(subject.id, crowd);
          samples.set(key, [...(samples.get(key) ?? []), sample]);
        }
        if (needsRedis(subject.store)) await redis?.flush();
      }
    }
  }
  return subjects.flatMap(subject =>
    crowds.map(crowd => {
      const own = samples.get(keyOf(subject.id, crowd)) ?? [];
      const bound = subject.bound === undefined ? undefined : samples.get(keyOf(subject.bound, crowd));
      const spread = (figure: keyof Sample) => spreadOf(own.map(sample => sample[figure]));
      const figures = { cpu: spread('cpu'), throughput: spread('throughput'), p50: spread('p50'), p99: spread('p99') };
      const ratio = bound && spreadOf(own.map(({ cpu }, round) => cpu / (bound[round]?.cpu ?? NaN)));
      return { subject, crowd, figures: { ...figures, ...(ratio && { ratio }) } };
    }),
  );
}

function keyOf(id: string, { connections, processes }: Crowd): string {
  return `${id} ${connections} ${processes}`;
}

async function samplesOf(
  subject: Subject,
  engines: Engines,
  { warmUp, window }: CrowdExtent,
  crowds: readonly Crowd[],
  processes: number,
): Promise<[Crowd, Sample][]> {
  const launches = await Launch.several(subject, engines, processes);
  try {
    const cookies = await logIn(launches[0]?.url ?? '', SESSIONS);
    for (const { url } of launches) await load(url, READ, { amount: warmUp, cookies });
    const samples: [Crowd, Sample][] = [];
    for (const crowd of crowds)
      samples.push([crowd, await sample(launches, cookies, window, crowd.connections / processes)]);
    return samples;
  } finally {
    for (const launch of launches) await launch.close();
  }
}

/** Loads all processes at once, with the same number of connections each, as a load balancer in turn does. */
async function sample(
  launches: readonly Launch[],
  cookies: readonly string[],
  duration: number,
  connections: number,
): Promise<Sample> {
  const cpu = async () => {
    const times = await Promise.all(launches.map(launch => launch.ask('cpu')));
    return times.reduce((sum, time) => sum + time, 0);
  };
  const before = await cpu();
  const results = await Promise.all(launches.map(({ url }) => load(url, READ, { duration, cookies, connections })));
  const used = (await cpu()) - before;
  const failed = results.reduce((sum, result) => sum + result.failed, 0);
  if (failed > 0) throw new Error(`${failed} requests of a crowd failed`);
  const requests = results.reduce((sum, result) => sum + result.requests, 0);
  const mean = (figure: 'p50' | 'p99') =>
    results.reduce((sum, result) => sum + result[figure] * result.requests, 0) / requests;
  return {
    cpu: used / requests,
    throughput: results.reduce((sum, result) => sum + result.requests / result.seconds, 0),
    p50: mean('p50'),
    p99: mean('p99'),
  };
}
