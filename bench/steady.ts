import 'reflect-metadata';

import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { IsString } from 'class-validator';
import {
  Principal,
  type SessionBackend,
  SessionCookie,
  SessionData,
  type SessionRecord,
} from 'routing-controllers-sessions';

import { findEngines, isThere, PrivateRedis } from './engines.js';
import { thisMachine } from './machine.js';
import { table } from './markdown.js';
import { nextProfile, SECRET } from './profile.js';
import { openStore, STORES, type StoreName } from './scale/stores.js';

/*
 * A steady load on the stores: so many log-ins a second, each of which expires a little later, and as many touches, with the
 * library's own sweep beside them.
 *
 *     node scripts/bench.mjs steady --seconds=600 --rate=1000 --only=lmdb,postgres
 */

/** Milliseconds from the log-in until a sweep may remove it. */
const LIFE = 20_000;

/** A sweep leaves what expired within the last hour, so that the log-ins are dated back by as much. */
const GRACE = 3_600_000;

const DAY = 24 * GRACE;

/** Seconds between two sweeps. */
const SWEEP_INTERVAL = 2;

/** The number of sessions that are touched in turn. */
const TOUCHED = 10_000;
const AT_ONCE = 100;

@SessionData
class Visitor {
  @IsString() @Principal() name!: string;
}

interface Result {
  store: StoreName;
  seconds: number;
  created: number;
  touched: number;
  failed: number;
  /** The largest number of expired sessions that were still there, in each tenth of the run. */
  backlog: number[];
  /** The number of expired sessions that one more sweep found after the load had ended. */
  left: number;
  bytes: number[];
}

async function main(options: readonly string[]): Promise<void> {
  const { seconds, rate, only } = parse(options);
  const folder = mkdtempSync(join(tmpdir(), 'sessions-steady-'));
  const redis = only.includes('redis') ? await PrivateRedis.start() : undefined;
  try {
    const { engines } = await findEngines(redis, folder);
    const results: Result[] = [];
    for (const name of only.filter(name => isThere(name, engines))) {
      const store = await openStore(name, engines);
      try {
        results.push(await run(name, store.backend, store.bytes, seconds, rate));
      } finally {
        await store.close();
      }
    }
    process.stdout.write(`${JSON.stringify(thisMachine())}\n${reportOf(results, rate)}\n`);
  } finally {
    await redis?.stop();
    rmSync(folder, { recursive: true, force: true });
  }
}

async function run(
  name: StoreName,
  backend: SessionBackend,
  bytesOf: () => Promise<number>,
  seconds: number,
  rate: number,
): Promise<Result> {
  const sessions = new SessionCookie({
    dataModel: Visitor,
    secretKey: SECRET,
    backend,
    sweepInterval: SWEEP_INTERVAL,
  });
  let swept = 0;
  sessions.on('swept', ({ removed }) => (swept += removed));
  await sessions.listSessions('nobody');
  const touched: SessionRecord[] = [];
  while (touched.length < TOUCHED)
    touched.push(...(await Promise.all(Array.from({ length: AT_ONCE }, () => make(backend, Date.now(), DAY)))));
  const result: Result = { store: name, seconds, created: 0, touched: 0, failed: 0, backlog: [], left: 0, bytes: [] };
  const expiries: number[] = [];
  const note = (work: Promise<unknown>): void => void work.catch(() => result.failed++);

  const begun = performance.now();
  let expired = 0;
  for (let elapsed = 0; elapsed < seconds; elapsed = (performance.now() - begun) / 1000) {
    for (; result.created < elapsed * rate; result.created++) {
      expiries.push(Date.now() + LIFE);
      note(make(backend, Date.now() - GRACE, LIFE));
      const { id, createdAt } = touched[result.created % TOUCHED]!;
      const lastSeenAt = Date.now();
      note(backend.touch(id, lastSeenAt, createdAt + DAY));
      result.touched++;
    }
    while ((expiries[expired] ?? Infinity) <= Date.now()) expired++;
    const tenth = Math.min(Math.floor((elapsed / seconds) * 10), 9);
    result.backlog[tenth] = Math.max(result.backlog[tenth] ?? 0, expired - swept);
    if (result.bytes[tenth] === undefined) {
      result.bytes[tenth] = 0;
      result.bytes[tenth] = await bytesOf();
      process.stderr.write(
        `${name} ${elapsed.toFixed(0)} s: ${expired - swept} expired, ${result.bytes[tenth]} bytes\n`,
      );
    }
    await new Promise(resolve => setTimeout(resolve, 5));
  }
  result.seconds = (performance.now() - begun) / 1000;
  result.left = await backend.deleteExpired(Date.now() - GRACE);
  await sessions.close();
  return result;
}

async function make(backend: SessionBackend, createdAt: number, life: number): Promise<SessionRecord> {
  const record: SessionRecord = {
    id: randomBytes(16).toString('base64url'),
    principal: `user-${randomBytes(4).readUInt32LE()}`,
    data: JSON.stringify(nextProfile()),
    proof: randomBytes(32).toString('base64url'),
    version: 1,
    createdAt,
    authenticatedAt: createdAt,
    lastSeenAt: createdAt,
    expiresAt: createdAt + life,
  };
  if (!(await backend.create(record))) throw new Error('an id is taken');
  return record;
}

function reportOf(results: readonly Result[], rate: number): string {
  const rows = results.map(({ store, seconds, created, touched, failed, backlog, left, bytes }) => [
    store,
    String(Math.round(created / seconds)),
    String(Math.round(touched / seconds)),
    String(failed),
    backlog.join(' '),
    String(left),
    bytes.map(value => (value / 1e6).toFixed(1)).join(' '),
  ]);
  const head = [
    'store',
    'log-ins a second',
    'touches a second',
    'failed',
    'most expired ones, by tenths',
    'left',
    'MB',
  ];
  return `${rate} a second were asked for.\n\n${table(head, rows)}`;
}

function parse(options: readonly string[]): { seconds: number; rate: number; only: readonly StoreName[] } {
  const unknown = options.find(option => !/^(--seconds=\d+|--rate=\d+|--only=.+)$/.test(option));
  if (unknown !== undefined)
    throw new Error(`${unknown}: no such option; there are --seconds=600, --rate=1000 and --only=memory,lmdb`);
  const valueOf = (name: string) => options.find(option => option.startsWith(`--${name}=`))?.split('=', 2)[1];
  const wanted = valueOf('only')?.split(',') ?? STORES;
  return {
    seconds: Number(valueOf('seconds') ?? 600),
    rate: Number(valueOf('rate') ?? 1_000),
    only: STORES.filter(store => wanted.includes(store)),
  };
}

void main(process.argv.slice(2));
