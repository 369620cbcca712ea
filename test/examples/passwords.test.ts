import { randomUUID } from 'node:crypto';
import type { Server } from 'node:http';
import type { AddressInfo } from 'node:net';

import { createClient } from 'redis';
import { InMemoryBackend } from 'routing-controllers-sessions';
import { Container } from 'typedi';

import { Accounts } from '../../examples/passwords/accounts.js';
import { createApp } from '../../examples/passwords/app.js';
import {
  type Counters,
  MemoryCounters,
  PER_ACCOUNT,
  PER_ADDRESS,
  RedisCounters,
  Throttle,
  WINDOW,
} from '../../examples/passwords/throttle.js';
import { Client } from '../support/client.js';
import { Clock } from '../support/clock.js';
import { describeWith, engineUrl, type PrivateServer, startRedis } from '../support/engines.js';

const ADA = { username: 'ada', password: 'correct horse battery' };
const wrong = (username = 'ada') => ({ username, password: 'a guess' });

describe('the example with passwords', () => {
  const clock = new Clock();
  let server: Server;
  let url: string;

  beforeEach(async () => {
    const app = createApp({
      secretKey: 'a-secret-of-the-tests-32-bytes-long',
      backend: new InMemoryBackend(),
      throttle: new Throttle(new MemoryCounters(clock.now)),
      accounts: new Accounts(16), // The least work: these tests are not about the strength of the hash.
      clock: clock.now,
      proxy: true,
    });
    await new Promise<void>(resolve => (server = app.listen(0, '127.0.0.1', resolve)));
    url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    await new Client(url).post('/register').send(ADA).expect(200);
  });
  afterEach(async () => {
    Container.reset();
    await new Promise(resolve => server.close(resolve));
  });

  /** One attempt from an address, as the proxy reports it: of this machine, which gets its cookie over plain HTTP. */
  const attempt = (credentials: object, address = '127.0.0.1', client = new Client(url)) =>
    client.post('/login').set('X-Forwarded-For', address).send(credentials);

  test('logs in with the right password only, and out', async () => {
    const client = new Client(url);
    await client.get('/me').expect(403);
    await attempt(wrong(), '127.0.0.1', client).expect(401);
    await attempt(wrong('nobody'), '127.0.0.1', client).expect(401);
    expect(client.cookie()).toBeUndefined();
    await attempt(ADA, '127.0.0.1', client).expect(200);
    await client.get('/me').expect(200, { username: 'ada' });
    await client.post('/logout').expect(200);
    await client.get('/me').expect(403);
  });

  test('refuses a name that is taken, and a short password', async () => {
    await new Client(url).post('/register').send(ADA).expect(409);
    await new Client(url).post('/register').send({ username: 'bob', password: 'short' }).expect(400);
  });

  test('stops guesses at one account from many addresses, even in parallel, until the window is over', async () => {
    const guesses = await Promise.all(Array.from({ length: 20 }, (_, i) => attempt(wrong(), `127.0.0.${i + 1}`)));
    expect(guesses.filter(({ status }) => status === 401)).toHaveLength(PER_ACCOUNT);
    expect(guesses.filter(({ status }) => status === 429)).toHaveLength(20 - PER_ACCOUNT);
    const refused = await attempt(ADA).expect(429);
    expect(refused.headers['retry-after']).toBe(String(WINDOW));
    expect(refused.headers['set-cookie']).toBeUndefined();
    clock.advance(WINDOW);
    await attempt(ADA).expect(200);
  });

  test('stops guesses at many accounts from one address, and nobody else', async () => {
    for (let i = 0; i < PER_ADDRESS; i++) await attempt(wrong(`user${i}`)).expect(401);
    await attempt(ADA).expect(429);
    await attempt(ADA, '127.0.0.2').expect(200);
  });

  test('forgets the failures of an account after a log-in', async () => {
    for (let i = 1; i < PER_ACCOUNT; i++) await attempt(wrong()).expect(401);
    await attempt(ADA).expect(200);
    for (let i = 0; i < PER_ACCOUNT; i++) await attempt(wrong()).expect(401);
  });

  test('a new password ends the other sessions, and needs a recent log-in', async () => {
    const [here, there] = [new Client(url), new Client(url)];
    await attempt(ADA, '127.0.0.1', here);
    await attempt(ADA, '127.0.0.1', there);
    clock.advance(301);
    const password = 'a new and long one';
    await here.post('/password').send({ password }).expect(403);
    await attempt(ADA, '127.0.0.1', here);
    await here.post('/password').send({ password }).expect(200);
    await here.get('/me').expect(200);
    await there.get('/me').expect(403);
    await attempt(ADA).expect(401);
    await attempt({ ...ADA, password }).expect(200);
  });
});

describeWith('redis', 'the counters of the example with passwords', () => {
  const name = `attempts:test:${randomUUID()}`;
  let own: PrivateServer | undefined;
  let client: ReturnType<typeof createClient>;

  beforeAll(async () => {
    const url = engineUrl('redis');
    if (url === undefined) own = await startRedis();
    client = createClient({ url: url ?? `redis://127.0.0.1:${own!.port}` });
    await client.connect();
  });
  afterAll(async () => {
    await client.del(name);
    await client.close();
    await own?.stop();
  });

  const countsOf = async (counters: Counters) => {
    const counts = await Promise.all(Array.from({ length: 10 }, () => counters.add(name, 60)));
    await counters.remove(name);
    return [...counts, await counters.add(name, 60)];
  };

  test('Redis counts as memory does', async () => {
    expect(await countsOf(new RedisCounters(client))).toEqual(await countsOf(new MemoryCounters()));
  });

  test('Redis forgets a count after the seconds of its first `add`, whatever comes later', async () => {
    const counters = new RedisCounters(client);
    await counters.remove(name);
    await counters.add(name, 60);
    const first = await client.expireTime(name);
    expect(first).toBeGreaterThan(0);
    await counters.add(name, 3600);
    expect(await client.expireTime(name)).toBe(first);
  });
});
