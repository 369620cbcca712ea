import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { measureBounds } from './bounds.js';
import { measureCosts } from './costs.js';
import { measureCrowds } from './crowds.js';
import { findEngines, isThere, PrivateRedis } from './engines.js';
import { BENCH, RAW_RESULTS } from './folders.js';
import { pinGenerator } from './launch.js';
import { thisMachine } from './machine.js';
import {
  type Extent,
  FULL,
  growth,
  importTimes,
  lostUpdates,
  measure,
  memoryOfSession,
  QUICK,
  type Sample,
  SCENARIOS,
  type Scenario,
} from './measure.js';
import { writeFigures } from './figures.js';
import { reportOf } from './report.js';
import type { Results, SubjectResult } from './results.js';
import { spreadOf } from './statistics.js';
import { type Engines, type Subject, SUBJECTS } from './subject.js';
import { drivers, peers, versions } from './versions.js';

const SIZES = [1_000, 10_000, 100_000, 1_000_000];

type Round = Map<string, Record<Scenario, Sample>>;

async function main(options: readonly string[]): Promise<void> {
  const unknown = options.find(
    option => !/^(--quick|--growth|--costs|--bounds|--crowds|--write|--only=.+)$/.test(option),
  );
  if (unknown !== undefined)
    throw new Error(
      `${unknown}: no such option; there are --quick, --growth, --costs, --bounds, --crowds, --write and --only=ID,ID`,
    );
  const parts = ['--costs', '--bounds', '--crowds'].filter(part => options.includes(part));
  const isPart = parts.length > 0;
  const has = (part: string): boolean => !isPart || parts.includes(part);
  if (options.includes('--write') && options.some(option => option.startsWith('--only=')))
    throw new Error('--write takes a run of every server');
  const only = options
    .find(option => option.startsWith('--only='))
    ?.slice('--only='.length)
    .split(',');
  const extent = options.includes('--quick') ? QUICK : FULL;
  const folder = mkdtempSync(join(tmpdir(), 'sessions-bench-'));
  const redis = await PrivateRedis.start();
  try {
    const { engines, servers } = await findEngines(redis, folder);
    const skipped: string[] = [];
    if (!redis) skipped.push('what needs Redis, for there is no redis-server here');
    if (only) skipped.push(`all but ${only.join(', ')}`);
    if (!engines.postgres) skipped.push('what needs PostgreSQL, for none answers here');
    if (!engines.mysql) skipped.push('what needs MySQL or MariaDB, for none answers here');
    const wanted = ({ id }: Subject) => only?.includes(id) ?? true;
    const subjects = SUBJECTS.filter(wanted).filter(({ store }) => isThere(store, engines));
    const growing = options.includes('--growth');
    const machine = thisMachine();
    pinGenerator();
    const importTime = isPart ? undefined : spreadOf(importTimes(extent));
    const results: Results = {
      date: new Date().toISOString(),
      quick: extent === QUICK,
      machine,
      versions: versions({ ...peers(), ...drivers() }, servers),
      rounds: extent.rounds,
      subjects: isPart ? [] : await measureAll(subjects, engines, extent, redis, growing),
      costs: has('--costs') ? await measureCosts(engines, extent.costs, wanted, say) : [],
      bounds: has('--bounds') ? await measureBounds(engines, extent.bounds, wanted, say) : [],
      crowds:
        growing || options.includes('--crowds') ? await measureCrowds(engines, extent.crowds, redis, wanted, say) : [],
      ...(importTime && { importTime }),
      skipped,
    };
    write(results, isPart);
    if (options.includes('--write')) writeFigures(results, isPart ? undefined : nameOf(results));
  } finally {
    await redis?.stop();
    rmSync(folder, { recursive: true, force: true });
  }
}

async function measureAll(
  subjects: readonly Subject[],
  engines: Engines,
  extent: Extent,
  redis: PrivateRedis | undefined,
  growing: boolean,
): Promise<SubjectResult[]> {
  const rounds: Round[] = [];
  for (let round = 0; round < extent.rounds; round++) {
    const samples: Round = new Map();
    // Alternately forwards and backwards, so that a drift of the machine does not always affect the same subjects.
    for (const subject of round % 2 === 0 ? subjects : subjects.toReversed()) {
      say(`round ${round + 1} of ${extent.rounds}: ${subject.id}`);
      samples.set(subject.id, await measure(subject, engines, extent, redis));
    }
    rounds.push(samples);
  }
  const results = subjects.map(subject => summary(subject, rounds));
  for (const result of results) {
    const { subject } = result;
    if (subject.store === 'none' || subject.controlOf !== undefined) continue;
    say(`lost updates and memory: ${subject.id}`);
    result.lostUpdates = await lostUpdates(subject, engines);
    if (subject.store === 'memory') result.bytesPerSession = await memoryOfSession(subject, engines, extent);
    if (growing && subject.module === 'ours') {
      say(`growth: ${subject.id}`);
      result.growth = await growth(subject, engines, SIZES);
    }
    await redis?.flush();
  }
  return results;
}

function summary(subject: Subject, rounds: readonly Round[]): SubjectResult {
  const base = SUBJECTS.find(({ stack, store }) => stack === subject.stack && store === 'none');
  const of = (id: string | undefined, scenario: Scenario) =>
    rounds.flatMap(round => (id === undefined ? [] : (round.get(id)?.[scenario] ?? [])));
  const byScenario = <V>(value: (scenario: Scenario) => V) =>
    Object.fromEntries(SCENARIOS.map(scenario => [scenario, value(scenario)])) as Record<Scenario, V>;

  const scenarios = byScenario(scenario => {
    const samples = of(subject.id, scenario);
    const { commands, statements } = samples.at(-1) ?? {};
    return {
      cpu: spreadOf(samples.map(({ cpu }) => cpu)),
      throughput: spreadOf(samples.map(({ throughput }) => throughput)),
      p50: spreadOf(samples.map(({ p50 }) => p50)),
      p99: spreadOf(samples.map(({ p99 }) => p99)),
      ...(commands && { commands }),
      ...(statements !== undefined && { statements }),
    };
  });
  const added = byScenario(scenario => {
    const without = of(base?.id, scenario);
    return spreadOf(of(subject.id, scenario).map(({ cpu }, round) => cpu - (without[round]?.cpu ?? NaN)));
  });
  return { subject, scenarios, added: subject.store === 'none' ? undefined : added };
}

function nameOf({ date, quick }: Results): string {
  return `${date.slice(0, 10)}${quick ? '-quick' : ''}`;
}

/** @param isPart of a part, only the figures are kept */
function write(results: Results, isPart: boolean): void {
  const report = reportOf(results);
  process.stdout.write(report);
  const name = `${nameOf(results)}${isPart ? '-part' : ''}`;
  const tables = join(BENCH, 'results', `${name}.md`);
  const raw = join(RAW_RESULTS, `${name}.json`);
  mkdirSync(RAW_RESULTS, { recursive: true });
  if (!isPart) writeFileSync(tables, report);
  writeFileSync(raw, `${JSON.stringify(results, undefined, 2)}\n`);
  say(`written to ${isPart ? '' : `${tables} and `}${raw}`);
}

function say(what: string): void {
  process.stderr.write(`${what}\n`);
}

void main(process.argv.slice(2));
