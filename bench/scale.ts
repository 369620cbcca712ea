import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';

import { writeInto } from './document.js';
import { findEngines, isThere, PrivateRedis } from './engines.js';
import { RAW_RESULTS, ROOT } from './folders.js';
import { Launch, pinGenerator } from './launch.js';
import { thisMachine } from './machine.js';
import { figuresOfAll, reportOf } from './scale/report.js';
import type { ScaleResults, StoreResult, SweepEffect } from './scale/results.js';
import { SteadyLoad } from './scale/steady-load.js';
import { STORES, type StoreName } from './scale/stores.js';
import type { Questions, Size } from './scale/worker.js';
import { type Engines } from './subject.js';
import { drivers, versions } from './versions.js';

const RESULTS = join(RAW_RESULTS, 'scale.json');
const DOCUMENT = join(ROOT, 'docs', 'backends', 'measurements.md');

const SIZES = [1_000, 10_000, 100_000, 1_000_000];

/** The number of sweeps. Each removes a part of the expired sessions, between two stretches of the same load without a sweep. */
const ROUNDS = 5;

/** Bounds of a stretch without a sweep, in milliseconds. Within them it lasts as long as the sweep before it. */
const SHORTEST = 2_000;
const LONGEST = 10_000;

const FILL_WITHIN = 15 * 60_000;

async function main(options: readonly string[]): Promise<void> {
  const { sessions, only } = parse(options);
  const folder = mkdtempSync(join(tmpdir(), 'sessions-scale-'));
  const redis = await PrivateRedis.start();
  try {
    const { engines, servers } = await findEngines(redis, folder);
    const stores = STORES.filter(store => only.includes(store)).filter(store => isThere(store, engines));
    const machine = thisMachine();
    pinGenerator();
    const begun = performance.now();
    const results: ScaleResults = {
      date: new Date().toISOString(),
      sessions,
      machine,
      versions: versions(drivers(), servers),
      rounds: ROUNDS,
      stores: [],
      minutes: 0,
    };
    for (const store of stores) {
      results.stores.push(await measureStore(store, engines, sessions));
      results.minutes = (performance.now() - begun) / 60_000;
      // After each store, so that a run that is stopped leaves its results.
      write(results);
    }
    const figures = figuresOfAll(results);
    process.stdout.write(reportOf(figures));
    if (options.includes('--write')) writeInto(DOCUMENT, 'a million sessions', reportOf(figures));
    if (results.stores.some(({ violations }) => violations.length > 0)) process.exitCode = 1;
  } finally {
    await redis?.stop();
    rmSync(folder, { recursive: true, force: true });
  }
}

function parse(options: readonly string[]): { sessions: number; only: readonly string[] } {
  const unknown = options.find(option => !/^(--sessions=\d+|--only=.+|--write)$/.test(option));
  if (unknown !== undefined)
    throw new Error(`${unknown}: no such option; there are --sessions=1000000, --only=memory,lmdb and --write`);
  const valueOf = (name: string) => options.find(option => option.startsWith(`--${name}=`))?.split('=', 2)[1];
  const sessions = Number(valueOf('sessions') ?? SIZES.at(-1));
  if (sessions < SIZES[0]!) throw new Error(`--sessions=${sessions}: at least ${SIZES[0]} are needed`);
  return { sessions, only: valueOf('only')?.split(',') ?? STORES };
}

async function measureStore(store: StoreName, engines: Engines, sessions: number): Promise<StoreResult> {
  const order = { store, engines, groups: ROUNDS };
  const launch = await Launch.start<Questions>('scale/worker', order, FILL_WITHIN);
  try {
    const empty = await launch.ask('bytes');
    const result: StoreResult = {
      store,
      fillSeconds: 0,
      bytesPerSession: NaN,
      residentPerSession: NaN,
      times: {},
      sweeps: [],
      violations: [],
    };
    for (const size of [...SIZES.filter(size => size < sessions), sessions]) {
      say(`${store}: ${size} sessions`);
      result.fillSeconds += await launch.ask('grow', size);
      const full = await launch.ask('bytes');
      const perSession = (what: keyof Size) => (full[what] - empty[what]) / size;
      result.bytesPerSession = perSession('bytes');
      result.residentPerSession = perSession('resident');
      const { medians, violations } = await launch.ask('operations');
      result.times[size] = medians;
      result.violations.push(...violations);
    }
    // Redis is not swept, because it removes expired keys by itself.
    if (store !== 'redis') await sweepUnderLoad(launch, result);
    result.violations.push(...(await launch.ask('inspect')));
    return result;
  } finally {
    await launch.close();
  }
}

async function sweepUnderLoad(launch: Launch<Questions>, result: StoreResult): Promise<void> {
  const load = await SteadyLoad.start(launch.url);
  const pause = (milliseconds: number) => () => new Promise(resolve => setTimeout(resolve, milliseconds));
  // Warms up: nothing counts until every path has run.
  await load.during(pause(LONGEST));
  let stretch = SHORTEST;
  for (let round = 0; round < ROUNDS; round++) {
    say(`${result.store}: sweep ${round + 1} of ${ROUNDS}`);
    const before = await load.during(pause(stretch));
    const effect: SweepEffect = { deleted: 0, seconds: 0, before, during: [], after: [] };
    effect.during = await load.during(async () => {
      const { deleted, expected, seconds } = await launch.ask('sweep', round);
      Object.assign(effect, { deleted, seconds });
      if (deleted !== expected) result.violations.push(`${deleted} of ${expected} expired sessions were swept`);
    });
    stretch = Math.min(Math.max(effect.seconds * 1000, SHORTEST), LONGEST);
    effect.after = await load.during(pause(stretch));
    result.sweeps.push(effect);
  }
  result.violations.push(...load.stop());
}

function write(results: ScaleResults): void {
  mkdirSync(dirname(RESULTS), { recursive: true });
  writeFileSync(RESULTS, `${JSON.stringify(figuresOfAll(results), undefined, 2)}\n`);
  say(`written to ${RESULTS}`);
}

function say(what: string): void {
  process.stderr.write(`${what}\n`);
}

void main(process.argv.slice(2));
