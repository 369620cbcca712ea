import 'reflect-metadata';
import { EventEmitter } from 'node:events';
import type { IncomingMessage } from 'node:http';
import { setTimeout as wait } from 'node:timers/promises';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

import { IsString } from 'class-validator';
import { InMemoryBackend, Principal, type Session, SessionCookie, SessionData } from 'routing-controllers-sessions';
import { signIn } from 'routing-controllers-sessions/testing';

import { SECRET } from './profile.js';

/*
 * What watched sessions cost one process: the memory of each signal, the time of one revocation, of a look at all of them after
 * lost news, and of a second in which nothing happens.
 *
 *     node scripts/bench.mjs watched [--sessions=100000]
 */

@SessionData
class WatchedSession {
  @IsString() @Principal() username!: string;
}

/** Sessions whose end is timed. */
const REVOCATIONS = 1_000;

const SECONDS_AT_REST = 10;

const given = /^--sessions=(\d+)$/.exec(process.argv[2] ?? '')?.[1];
const SESSIONS = given === undefined ? 100_000 : Number(given);

setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc') as () => void;

function heap(): number {
  // Twice, because the first collection runs finalizers.
  collect();
  collect();
  return process.memoryUsage().heapUsed;
}

/** Microseconds of CPU time. */
function cpu(): number {
  const { user, system } = process.cpuUsage();
  return user + system;
}

async function revoke(cookie: SessionCookie<WatchedSession>, sessions: readonly Session<WatchedSession>[]) {
  const before = cpu();
  for (const { id } of sessions) await cookie.endSession(id);
  return (cpu() - before) / sessions.length;
}

async function main(): Promise<void> {
  const backend = new InMemoryBackend();
  const cookie = new SessionCookie({
    secretKey: SECRET,
    dataModel: WatchedSession,
    backend,
    sweepInterval: 0,
    touchInterval: 3_600,
  });
  const sessions: Session<WatchedSession>[] = [];
  for (let n = 0; n < SESSIONS; n++) {
    const cookies = await signIn(cookie, { username: `user-${n}` });
    const socket = Object.assign(new EventEmitter(), { remoteAddress: '127.0.0.1' });
    const request = { headers: { cookie: cookies, host: 'localhost' }, method: 'GET', socket };
    const session = await cookie.authenticate(request as unknown as IncomingMessage);
    if (!session) throw new Error('A session that was just made is not there');
    sessions.push(session);
  }
  const unwatched = await revoke(cookie, sessions.splice(0, REVOCATIONS));

  const without = heap();
  let aborted = 0;
  for (const { signal } of sessions) signal.addEventListener('abort', () => aborted++);
  await wait(1_000);
  const bytes = (heap() - without) / sessions.length;

  const rested = cpu();
  await wait(SECONDS_AT_REST * 1_000);
  const atRest = (cpu() - rested) / SECONDS_AT_REST;

  const watched = await revoke(cookie, sessions.splice(0, REVOCATIONS));

  const left = sessions.length;
  const [begunAt, begun] = [performance.now(), cpu()];
  const count = await cookie.endAllSessions();
  while (aborted < REVOCATIONS + left) await wait(5);
  const all = { seconds: (performance.now() - begunAt) / 1_000, cpu: (cpu() - begun) / count };

  process.stdout.write(
    [
      `${SESSIONS} watched sessions in one process, Node ${process.versions.node}`,
      `a signal with one listener: ${Math.round(bytes)} bytes`,
      `at rest: ${(atRest / 10_000).toFixed(2)} % of a core`,
      `one revocation: ${watched.toFixed(1)} µs of CPU, ${unwatched.toFixed(1)} without a signal`,
      `the end of all ${left}: ${all.seconds.toFixed(2)} s, ${all.cpu.toFixed(1)} µs of CPU each`,
      '',
    ].join('\n'),
  );
  await cookie.close();
}

void main();
