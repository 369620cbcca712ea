import 'reflect-metadata';

import { createClient } from 'redis';
import { SessionCookie, SessionData, type SessionEvents } from 'routing-controllers-sessions';
import { RedisBackend } from 'routing-controllers-sessions/redis';

import { Deadlines } from '../../src/session/deadlines.js';
import { describeWith, type PrivateServer, startRedis } from '../support/engines.js';
import { contextFor, visit } from '../support/in-process.js';

@SessionData
class UserSession {
  username = 'ada';
  visits = 0;
}

/** Seconds, and milliseconds that are well past them. */
const BACKEND_TIMEOUT = 1;
const BUSY = 2_000;

/** Work that lets the event loop do nothing else. */
function block(milliseconds: number): void {
  for (const end = performance.now() + milliseconds; performance.now() < end;);
}

describeWith('redis', 'a process that is busy for longer than backendTimeout', () => {
  let server: PrivateServer;
  let client: ReturnType<typeof createClient>;
  let sessions: SessionCookie<UserSession>;
  /** The same sessions, without a deadline that a busy machine would miss. */
  let patient: SessionCookie<UserSession>;
  const unavailable: SessionEvents['unavailable'][] = [];
  beforeAll(async () => {
    server = await startRedis();
    client = createClient({ url: `redis://127.0.0.1:${server.port}` });
    await client.connect();
    const options = { dataModel: UserSession, secretKey: 'k'.repeat(32), backend: new RedisBackend({ client }) };
    sessions = new SessionCookie({ ...options, backendTimeout: BACKEND_TIMEOUT });
    patient = new SessionCookie({ ...options, backendTimeout: 60 });
    sessions.on('unavailable', event => unavailable.push(event));
  });
  afterAll(async () => {
    client.destroy();
    await server.stop();
  });

  async function logIn(): Promise<string> {
    const { token } = await visit(patient, {}, async ctx => {
      await patient.createSession({ username: 'ada', visits: 0 }, ctx);
    });
    return token!;
  }

  test('takes the answers that came meanwhile: of 6 requests at once, 6 succeed', async () => {
    const tokens = await Promise.all(Array.from({ length: 6 }, () => logIn()));
    const loads = tokens.map(token => sessions.getSession(contextFor({ token })));
    // The commands leave in this turn; their answers come while the process is busy.
    await new Promise(resolve => setImmediate(resolve));
    block(BUSY);
    const loaded = await Promise.all(loads);
    expect(loaded.map(session => session?.data.username)).toEqual(Array(6).fill('ada'));
    expect(unavailable).toEqual([]);
  });

  test('gives writes of several commands as much time again: the server has lost the scripts, and 6 of 6 succeed', async () => {
    const tokens = await Promise.all(Array.from({ length: 6 }, () => logIn()));
    const loaded = await Promise.all(tokens.map(token => sessions.getSession(contextFor({ token }))));
    await client.scriptFlush();
    const updates = loaded.map(session => session!.update(data => data.visits++));
    await new Promise(resolve => setImmediate(resolve));
    block(BUSY);
    expect((await Promise.all(updates)).map(({ visits }) => visits)).toEqual(Array(6).fill(1));
    expect(unavailable).toEqual([]);
  });
});

test("a test runner's fake timers, in use when a deadline begins, keep neither it nor a later one from passing", async () => {
  const deadlines = new Deadlines(50);
  const never = () => deadlines.within(new Promise(() => undefined), () => new Error('too late'));
  jest.useFakeTimers();
  const first = never();
  jest.useRealTimers();
  const second = never();
  await expect(first).rejects.toThrow('too late');
  await expect(second).rejects.toThrow('too late');
});
