import { spawnSync } from 'node:child_process';
import { join } from 'node:path';

import type { BoundExtent } from './bounds.js';
import type { CrowdExtent } from './crowds.js';
import type { PrivateRedis } from './engines.js';
import { Launch } from './launch.js';
import { cookieOf, load, logIn, type Route, spoil } from './load.js';
import { type Engines, needsRedis, type Subject } from './subject.js';

/** The amount of work: `--quick` only checks that everything runs. */
export interface Extent {
  rounds: number;
  /** Requests that warm up each scenario. A count, because the time would depend on the machine. */
  warmUp: number;
  /** Seconds. */
  window: number;
  /** The number of sessions over which the memory of one is averaged. */
  sessions: number;
  imports: number;
  bounds: BoundExtent;
  costs: BoundExtent;
  crowds: CrowdExtent;
}

export const FULL: Extent = {
  rounds: 3,
  warmUp: 4_000,
  window: 0.7,
  sessions: 100_000,
  imports: 11,
  bounds: { launches: 2, rounds: 25 },
  costs: { launches: 2, rounds: 12 },
  crowds: { rounds: 3, warmUp: 5_000, window: 1 },
};
export const QUICK: Extent = {
  rounds: 1,
  warmUp: 1_000,
  window: 0.3,
  sessions: 10_000,
  imports: 3,
  bounds: { launches: 1, rounds: 6 },
  costs: { launches: 1, rounds: 3 },
  crowds: { rounds: 1, warmUp: 1_000, window: 0.3 },
};

export const SCENARIOS = ['read', 'bad', 'none', 'login', 'update'] as const;
export type Scenario = (typeof SCENARIOS)[number];

/** The routes whose cost is measured within the process. A request without a cookie costs too little to be told from nothing. */
export const COSTED = ['read', 'bad', 'login', 'update'] as const satisfies readonly Scenario[];
export type Costed = (typeof COSTED)[number];

export const ROUTES: Record<Scenario, Route> = {
  read: { method: 'GET', path: '/me' },
  bad: { method: 'GET', path: '/hello' },
  none: { method: 'GET', path: '/hello' },
  login: { method: 'POST', path: '/login' },
  update: { method: 'POST', path: '/visit' },
};

/** The number of sessions: each connection has its own, so that no two requests share one. */
const SESSIONS = 1_000;

/** The figures of one launch of one server in one scenario. */
export interface Sample {
  /** CPU time of the server's process for one request, in microseconds. */
  cpu: number;
  /** Requests a second. */
  throughput: number;
  /** Milliseconds. */
  p50: number;
  p99: number;
  /** Redis commands for one request, by name; PostgreSQL statements. */
  commands?: Record<string, number>;
  statements?: number;
}

/** Launches a server and measures each scenario once. */
export async function measure(
  subject: Subject,
  engines: Engines,
  extent: Extent,
  redis: PrivateRedis | undefined,
): Promise<Record<Scenario, Sample>> {
  const launch = await Launch.of(subject, engines);
  try {
    const loggedIn = await logIn(launch.url, SESSIONS);
    // A server without sessions gets a cookie too, because parsing the header costs time.
    const cookies =
      loggedIn[0] === '' ? loggedIn.map((_, index) => `plain=${String(index).padStart(87, '0')}`) : loggedIn;
    const sent: Record<Scenario, string[]> = {
      read: cookies,
      bad: cookies.map(spoil),
      none: [],
      login: [],
      update: cookies,
    };
    for (const scenario of SCENARIOS) {
      await load(launch.url, ROUTES[scenario], { amount: extent.warmUp, cookies: sent[scenario] });
    }
    const samples: Partial<Record<Scenario, Sample>> = {};
    for (const scenario of SCENARIOS) {
      samples[scenario] = {
        ...(await sample(launch, ROUTES[scenario], sent[scenario], extent)),
        ...(await sentFor(launch, subject, ROUTES[scenario], sent[scenario], redis)),
      };
    }
    return samples as Record<Scenario, Sample>;
  } finally {
    await launch.close();
    if (needsRedis(subject.store)) await redis?.flush();
  }
}

async function sample(launch: Launch, route: Route, cookies: readonly string[], { window }: Extent): Promise<Sample> {
  const before = await launch.ask('cpu');
  const { requests, failed, seconds, p50, p99 } = await load(launch.url, route, { duration: window, cookies });
  const cpu = (await launch.ask('cpu')) - before;
  if (failed > 0) throw new Error(`${failed} of ${requests} requests to ${route.path} failed`);
  return { cpu: cpu / requests, throughput: requests / seconds, p50, p99 };
}

/** The number of requests over which commands and statements are counted. */
const COUNTED = 500;

async function sentFor(
  launch: Launch,
  { store }: Subject,
  route: Route,
  cookies: readonly string[],
  redis: PrivateRedis | undefined,
): Promise<Pick<Sample, 'commands' | 'statements'>> {
  if (store === 'postgres') {
    const before = await launch.ask('statements');
    const { requests } = await load(launch.url, route, { amount: COUNTED, cookies });
    return { statements: ((await launch.ask('statements')) - before) / requests };
  }
  if (!needsRedis(store) || !redis) return {};
  const before = await redis.commands();
  const { requests } = await load(launch.url, route, { amount: COUNTED, cookies });
  const perRequest = [...(await redis.commands())].map(
    ([name, calls]) => [name, (calls - (before.get(name) ?? 0)) / requests] as const,
  );
  return { commands: Object.fromEntries(perRequest.filter(([, calls]) => calls > 0)) };
}

/** The bytes of one session in the server's process. */
export async function memoryOfSession(subject: Subject, engines: Engines, { sessions }: Extent): Promise<number> {
  const launch = await Launch.of(subject, engines);
  try {
    const route = ROUTES.login;
    // Fills caches and compiles code before the first reading.
    await load(launch.url, route, { amount: 2_000 });
    const before = await launch.ask('memory');
    await load(launch.url, route, { amount: sessions });
    return ((await launch.ask('memory')) - before) / sessions;
  } finally {
    await launch.close();
  }
}

const INCREMENTS = 200;

/** The number of parallel increments that were lost. */
export async function lostUpdates(subject: Subject, engines: Engines): Promise<number> {
  const launch = await Launch.of(subject, engines);
  try {
    const [cookie = ''] = await logIn(launch.url, 1);
    // A session that is sealed in its cookie has the state of the last answer.
    let latest = cookie;
    const increment = async () => {
      const response = await fetch(`${launch.url}/slow-visit`, { method: 'POST', headers: { cookie } });
      if (!response.ok) throw new Error(`an increment was answered with ${response.status}`);
      await response.arrayBuffer();
      if (subject.store === 'cookie') latest = cookieOf(response);
    };
    await Promise.all(Array.from({ length: INCREMENTS }, increment));
    const response = await fetch(`${launch.url}/me`, { headers: { cookie: latest } });
    const { visits } = (await response.json()) as { visits: number };
    return INCREMENTS - visits;
  } finally {
    await launch.close();
  }
}

/** The milliseconds of loading the root entry after its peers; one value for each new process. */
export function importTimes({ imports }: Extent): number[] {
  return Array.from({ length: imports }, () => {
    const { stdout } = spawnSync(process.execPath, [join(__dirname, 'import-time.js')], { encoding: 'utf8' });
    return Number(stdout);
  });
}

/** The CPU time of an authenticated read in microseconds, by the number of sessions in the store. */
export async function growth(
  subject: Subject,
  engines: Engines,
  sizes: readonly number[],
): Promise<Record<string, number>> {
  const launch = await Launch.of(subject, engines);
  try {
    const cookies = await logIn(launch.url, SESSIONS);
    let size = SESSIONS;
    const costs: Record<string, number> = {};
    for (const wanted of sizes) {
      await launch.ask('grow', wanted - size);
      size = wanted;
      await load(launch.url, ROUTES.read, { duration: 0.5, cookies });
      const before = await launch.ask('cpu');
      const { requests } = await load(launch.url, ROUTES.read, { duration: 2, cookies });
      costs[wanted] = ((await launch.ask('cpu')) - before) / requests;
    }
    return costs;
  } finally {
    await launch.close();
  }
}
