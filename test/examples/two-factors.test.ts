import type { Server } from 'node:http';
import type { AddressInfo } from 'node:net';

import { type TOTP, URI } from 'otpauth';
import { InMemoryBackend } from 'routing-controllers-sessions';
import { Container } from 'typedi';

import { Accounts } from '../../examples/passwords/accounts.js';
import { MemoryCounters, PER_ACCOUNT, Throttle } from '../../examples/passwords/throttle.js';
import { createApp } from '../../examples/two-factors/app.js';
import { FAILURES_BEFORE_PAUSE, OneTimeCodes } from '../../examples/two-factors/one-time-codes.js';
import { type Otp, OtpTable } from '../../examples/two-factors/otp-table.js';
import { Client } from '../support/client.js';
import { Clock } from '../support/clock.js';

const STEP = 30;
const PASSWORD = 'correct horse battery';

/** Lets the test hold the answers of `read` until so many have asked: then all of them have seen the same row. */
class MeetingTable extends OtpTable {
  #expected = 0;
  #waiting: (() => void)[] = [];

  meet(readers: number): void {
    this.#expected = readers;
  }

  override async read(username: string): Promise<Otp | undefined> {
    const row = await super.read(username);
    if (this.#expected > 0) {
      const met = new Promise<void>(resolve => this.#waiting.push(resolve));
      if (--this.#expected === 0) for (const go of this.#waiting.splice(0)) go();
      await met;
    }
    return row;
  }
}

describe('the example with two factors', () => {
  let clock: Clock;
  let table: MeetingTable;
  let backend: InMemoryBackend;
  let server: Server;
  let url: string;

  beforeEach(async () => {
    clock = new Clock();
    table = new MeetingTable();
    backend = new InMemoryBackend();
    const accounts = new Accounts(16); // The least work: these tests are not about the strength of the hash.
    for (const username of ['ada', 'bob']) await accounts.add(username, PASSWORD);
    const app = createApp({
      secretKey: 'a-secret-of-the-tests-32-bytes-long',
      backend,
      accounts,
      throttle: new Throttle(new MemoryCounters(clock.now)),
      codes: new OneTimeCodes(table, clock.now),
      clock: clock.now,
    });
    await new Promise<void>(resolve => (server = app.listen(0, '127.0.0.1', resolve)));
    url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  });
  afterEach(async () => {
    Container.reset();
    await new Promise(resolve => server.close(resolve));
  });

  const logIn = async (username = 'ada') => {
    const client = new Client(url);
    await client.post('/login').send({ username, password: PASSWORD }).expect(200);
    return client;
  };
  const deviceOf = (uri: string) => URI.parse(uri) as TOTP;
  const enrol = async (client: Client) => deviceOf((await client.post('/account/otp/enrol').expect(200)).body.uri);
  /** What the device shows, now or in some time steps. */
  const codeOf = (device: TOTP, steps = 0) => device.generate({ timestamp: clock.now() + steps * STEP * 1000 });
  /** A code that the device does not show around now. */
  const wrongCodeOf = (device: TOTP) => {
    const shown = [-1, 0, 1].map(steps => codeOf(device, steps));
    return ['000000', '111111', '222222', '333333'].find(code => !shown.includes(code))!;
  };
  const confirm = (client: Client, code: string) => client.post('/account/otp/confirm').send({ code });
  const prove = (client: Client, code: string) => client.post('/account/otp').send({ code });
  const provePassword = (client: Client, password = PASSWORD) => client.post('/account/password').send({ password });
  const vault = (client: Client) => client.get('/vault');
  const refusal = (missing: string[]) => ({
    code: 'ERR_SESSION_FACTOR',
    factors: [['passkey'], ['password', 'otp']],
    missing,
    maxAuthAge: 900,
  });
  /** Asserts that the vault stays shut, and says what for. */
  const expectShut = async (client: Client, ...missing: string[]) => {
    const { body } = await vault(client).expect(403);
    expect(body).toMatchObject(refusal(missing));
    expect(body).not.toHaveProperty('gold');
  };

  /** A user whose second factor is set up, and whose device shows a code that was not used. */
  const enrolled = async (username = 'ada') => {
    const client = await logIn(username);
    const device = await enrol(client);
    await confirm(client, codeOf(device)).expect(200);
    clock.advance(2 * STEP);
    return { client, device };
  };

  test('the whole way: password, set-up, log-in with both, vault', async () => {
    const first = await logIn();
    await first.get('/me').expect(200, { username: 'ada', proved: ['password'] });
    await expectShut(first, 'otp');
    const { body } = await first.post('/account/otp/enrol').expect(200);
    expect(body.uri).toMatch(
      /^otpauth:\/\/totp\/Example:ada\?issuer=Example&secret=[A-Z2-7]{32}&algorithm=SHA1&digits=6&period=30$/,
    );
    const device = deviceOf(body.uri);
    await expectShut(first, 'otp');
    await confirm(first, codeOf(device)).expect(200, { proved: ['password', 'otp'] });
    await vault(first).expect(200, { gold: 3 });

    clock.advance(STEP);
    const second = await logIn();
    await expectShut(second, 'otp');
    await prove(second, codeOf(device)).expect(200, { proved: ['password', 'otp'] });
    await vault(second).expect(200, { gold: 3 });
    await second.post('/logout').expect(200);
    await vault(second).expect(403);
  });

  test('without a log-in nothing opens', async () => {
    const nobody = new Client(url);
    for (const path of ['/me', '/vault']) expect((await nobody.get(path)).body.code).toBe('ERR_SESSION_REQUIRED');
    await nobody.post('/account/otp/enrol').expect(403);
    await confirm(nobody, '123456').expect(403);
    await prove(nobody, '123456').expect(403);
    await provePassword(nobody).expect(403);
    await nobody.send('delete', '/account/otp').expect(403);
    await nobody.post('/login').send({ username: 'ada', password: 'a guess' }).expect(401);
    expect(nobody.cookie()).toBeUndefined();
  });

  test('no cookie without the second step opens the vault', async () => {
    const { client, device } = await enrolled();
    const bob = await enrolled('bob');
    const [stranger, guesser, before] = [await logIn(), await logIn(), await logIn()];
    await prove(stranger, codeOf(bob.device)).expect(401);
    await prove(guesser, wrongCodeOf(device)).expect(401);
    await confirm(guesser, codeOf(device)).expect(409);
    await provePassword(guesser).expect(200);
    // Another session of the same user proves it. That counts there only.
    await prove(client, codeOf(device)).expect(200);
    for (const shut of [stranger, guesser, before, await logIn()]) await expectShut(shut, 'otp');
    await vault(client).expect(200);
  });

  test('a code that is wrong, or no code, proves nothing and leaves the cookie as it is', async () => {
    const { device } = await enrolled();
    const client = await logIn();
    const cookie = client.cookie();
    await prove(client, wrongCodeOf(device)).expect(401);
    for (const code of ['', '12345', '1234567', '12345é', '１２３４５６', ' 12345'])
      await prove(client, code).expect(400);
    await client.post('/account/otp').send({}).expect(400);
    await client
      .post('/account/otp')
      .send({ code: [codeOf(device)] })
      .expect(400);
    expect(client.cookie()).toBe(cookie);
    await expectShut(client, 'otp');
    await prove(client, codeOf(device)).expect(200);
  });

  test('a code counts in its own time step, the one before and the one after', async () => {
    const { device } = await enrolled();
    for (const [steps, status] of [
      [-2, 401],
      [2, 401],
      [-1, 200],
      [0, 200],
      [1, 200],
    ] as const) {
      const client = await logIn();
      await prove(client, codeOf(device, steps)).expect(status);
    }
  });

  test('a code that was used, and each older one, is refused', async () => {
    const { device } = await enrolled();
    const code = codeOf(device);
    const [client, thief] = [await logIn(), await logIn()];
    await prove(client, code).expect(200);
    await prove(client, code).expect(401);
    await prove(thief, code).expect(401);
    await prove(thief, codeOf(device, -1)).expect(401);
    clock.advance(STEP);
    await prove(thief, code).expect(401);
    await expectShut(thief, 'otp');
  });

  test('the code of the confirmation is used', async () => {
    const client = await logIn();
    const device = await enrol(client);
    await confirm(client, codeOf(device)).expect(200);
    const thief = await logIn();
    await prove(thief, codeOf(device)).expect(401);
    await expectShut(thief, 'otp');
  });

  test('of parallel requests with one code exactly one passes, from one session and from several', async () => {
    const { device } = await enrolled();
    for (const { count, sessions } of [
      { count: 2, sessions: 1 },
      { count: 2, sessions: 2 },
      { count: 10, sessions: 10 },
    ]) {
      const clients: Client[] = [];
      while (clients.length < sessions) clients.push(await logIn());
      table.meet(count);
      const answers = await Promise.all(
        Array.from({ length: count }, (_, i) => prove(clients[i % sessions]!, codeOf(device))),
      );
      // The fifth of nine failures begins a pause.
      const refused = count === 2 ? [401] : [401, 401, 401, 401, 401, 429, 429, 429, 429];
      expect(answers.map(({ status }) => status).sort()).toEqual([200, ...refused]);
      const open = await Promise.all(clients.map(client => vault(client)));
      expect(open.filter(({ status }) => status === 200)).toHaveLength(1);
      clock.advance(60 + STEP);
    }
  });

  test('of two parallel confirmations with one code exactly one passes', async () => {
    const [one, two] = [await logIn(), await logIn()];
    const device = await enrol(one);
    table.meet(2);
    const answers = await Promise.all([one, two].map(client => confirm(client, codeOf(device))));
    expect(answers.map(({ status }) => status).sort()).toEqual([200, 409]);
  });

  test('wrong codes lead to pauses that grow to a day, in all sessions of the user and of nobody else', async () => {
    const { device } = await enrolled();
    const bob = await enrolled('bob');
    const client = await logIn();
    for (let i = 0; i < FAILURES_BEFORE_PAUSE; i++) await prove(client, wrongCodeOf(device)).expect(401);
    const pauses: number[] = [];
    for (let i = 0; i < 13; i++) {
      const pause = Number((await prove(client, codeOf(device)).expect(429)).headers['retry-after']);
      pauses.push(pause);
      clock.advance(pause - 1);
      await prove(i % 2 === 0 ? client : await logIn(), codeOf(device)).expect(429);
      if (i === 0) await prove(bob.client, codeOf(bob.device)).expect(200);
      clock.advance(1);
      await prove(client, wrongCodeOf(device)).expect(401);
    }
    expect(pauses).toEqual([...Array.from({ length: 11 }, (_, i) => 60 * 2 ** i), 86_400, 86_400]);
    clock.advance(86_400);
    await prove(client, codeOf(device)).expect(200);
    clock.advance(STEP);
    // The right code has set the count to zero.
    for (let i = 1; i < FAILURES_BEFORE_PAUSE; i++) await prove(client, wrongCodeOf(device)).expect(401);
    await prove(client, codeOf(device)).expect(200);
  });

  test('parallel guesses are as limited as those one after the other', async () => {
    const { device } = await enrolled();
    const client = await logIn();
    table.meet(20);
    const guesses = await Promise.all(Array.from({ length: 20 }, () => prove(client, wrongCodeOf(device))));
    expect(guesses.filter(({ status }) => status === 401)).toHaveLength(FAILURES_BEFORE_PAUSE);
    expect(guesses.filter(({ status }) => status === 429)).toHaveLength(20 - FAILURES_BEFORE_PAUSE);
  });

  test('guesses at the password are limited, at the log-in and after it together', async () => {
    const client = await logIn();
    for (let i = 0; i < PER_ACCOUNT; i++)
      await (
        i % 2 === 0
          ? provePassword(client, 'a guess')
          : client.post('/login').send({ username: 'ada', password: 'a guess' })
      ).expect(401);
    await provePassword(client).expect(429);
    await client.get('/me').expect(200);
  });

  test('each factor is too old after 900 seconds of its own, and the refusal names just those', async () => {
    const { device } = await enrolled();
    const client = await logIn();
    clock.advance(600);
    await prove(client, codeOf(device)).expect(200);
    clock.advance(300);
    await vault(client).expect(200);
    clock.advance(1);
    await expectShut(client, 'password');
    await provePassword(client, 'a guess').expect(401);
    await expectShut(client, 'password');
    await provePassword(client).expect(200);
    await vault(client).expect(200);
    clock.advance(600);
    await expectShut(client, 'otp');
    await prove(client, codeOf(device)).expect(200);
    await vault(client).expect(200);
    clock.advance(901);
    await expectShut(client, 'password', 'otp');
    await client.get('/me').expect(200);
  });

  test('a proof exchanges the token, and the old cookie is dead', async () => {
    const { device } = await enrolled();
    const client = await logIn();
    for (const proof of [() => prove(client, codeOf(device)), () => provePassword(client)]) {
      const old = new Client(url, `session=${client.cookie()!}`);
      await old.get('/me').expect(200);
      await proof().expect(200);
      expect(client.cookie()).not.toBe(old.cookie());
      expect((await old.get('/me').expect(403)).body.code).toBe('ERR_SESSION_REQUIRED');
      await vault(old).expect(403);
      await vault(client).expect(200);
    }
  });

  describe('the set-up', () => {
    test('needs a password of the last five minutes', async () => {
      const client = await logIn();
      const device = await enrol(client);
      clock.advance(301);
      for (const refused of [await client.post('/account/otp/enrol'), await confirm(client, codeOf(device))])
        expect(refused.body).toMatchObject({ code: 'ERR_SESSION_FACTOR', missing: ['password'], maxAuthAge: 300 });
      await provePassword(client).expect(200);
      await confirm(client, codeOf(device)).expect(200);
    });

    test('counts only after a right code, which a wrong one does not replace', async () => {
      const client = await logIn();
      const device = await enrol(client);
      await prove(client, codeOf(device)).expect(409);
      await confirm(client, wrongCodeOf(device)).expect(401);
      await expectShut(client, 'otp');
      await prove(client, codeOf(device)).expect(409);
      await confirm(client, codeOf(device)).expect(200);
      await vault(client).expect(200);
    });

    test('begins anew with another secret while it is not confirmed', async () => {
      const client = await logIn();
      const [old, device] = [await enrol(client), await enrol(client)];
      expect(device.secret.base32).not.toBe(old.secret.base32);
      await confirm(client, codeOf(old)).expect(401);
      await confirm(client, codeOf(device)).expect(200);
    });

    test('does not replace a factor that is in use, not even while that is being confirmed', async () => {
      const { client, device } = await enrolled();
      const thief = await logIn();
      await thief.post('/account/otp/enrol').expect(409);
      await confirm(thief, codeOf(device)).expect(409);
      await client.post('/account/otp/enrol').expect(409);
      await prove(client, codeOf(device)).expect(200);

      const bob = await logIn('bob');
      const his = await enrol(bob);
      table.meet(2);
      const [confirmed, replaced] = await Promise.all([
        confirm(bob, codeOf(his)),
        (await logIn('bob')).post('/account/otp/enrol'),
      ]);
      // Either is first: a confirmation of the old secret and a refusal of the new one, or the other way round.
      expect([confirmed.status, replaced.status].sort()).toEqual(confirmed.status === 200 ? [200, 409] : [200, 401]);
    });

    test('keeps the secret with the user, and out of the session', async () => {
      const { client, device } = await enrolled();
      const row = await table.read('ada');
      expect(row!.secret).toBe(device.secret.base32);
      const records = await backend.listByPrincipal('ada');
      expect(records).toHaveLength(1);
      expect(records[0]!.data).toContain('ada');
      expect(JSON.stringify(records)).not.toContain(device.secret.base32);
      await client.get('/me').expect(200, { username: 'ada', proved: ['password', 'otp'] });
    });
  });

  describe('the removal', () => {
    const remove = (client: Client) => client.send('delete', '/account/otp');

    test('needs both factors of the last five minutes, and ends all sessions of the user', async () => {
      const { client, device } = await enrolled();
      const [thief, bob] = [await logIn(), await enrolled('bob')];
      expect((await remove(thief).expect(403)).body).toMatchObject({ missing: ['otp'], maxAuthAge: 300 });
      clock.advance(301);
      expect((await remove(client).expect(403)).body).toMatchObject({ missing: ['password', 'otp'] });
      await provePassword(client).expect(200);
      await prove(client, codeOf(device)).expect(200);
      await remove(client).expect(200, { ended: 2 });
      for (const ended of [client, thief]) await ended.get('/me').expect(403);
      await vault(bob.client).expect(200);

      const again = await logIn();
      await prove(again, codeOf(device, 1)).expect(409);
      await confirm(again, codeOf(await enrol(again))).expect(200);
    });
  });
});
