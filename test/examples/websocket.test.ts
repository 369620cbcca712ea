import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createServer, get, type IncomingMessage, type Server } from 'node:http';
import { type AddressInfo, connect } from 'node:net';
import path from 'node:path';

import { transformSync } from 'esbuild';
import {
  InMemoryBackend,
  type SessionBackend,
  type SessionCookie,
  type SessionRecord,
} from 'routing-controllers-sessions';
import { signIn } from 'routing-controllers-sessions/testing';
import { Container } from 'typedi';
import { type ClientOptions, WebSocket } from 'ws';

import { createApp, type UserSession } from '../../examples/websocket/app.js';
import { Room } from '../../examples/websocket/room.js';
import { GOING_AWAY, SESSION_OVER, Sockets, TRY_AGAIN_LATER } from '../../examples/websocket/sockets.js';
import { Client } from '../support/client.js';
import { Clock } from '../support/clock.js';
import { until } from '../support/engines.js';

/** Lets the test decide when the store answers no more. */
class AwayBackend extends InMemoryBackend {
  isAway = false;

  override read(id: string): Promise<SessionRecord | undefined> {
    if (this.isAway) return Promise.reject(new Error('away'));
    return super.read(id);
  }
}

const secretKey = 'a-secret-of-the-tests-32-bytes-long';

describe('the example with WebSockets', () => {
  const clock = new Clock();
  let backend: AwayBackend;
  let sessions: SessionCookie<UserSession>;
  let room: Room;
  let server: Server;
  let sockets: Sockets;
  let host: string;
  const opened: { terminate(): void }[] = [];

  async function serve(store: SessionBackend): Promise<void> {
    const made = createApp({ secretKey, backend: store, clock: clock.now });
    sessions = made.sessions.on('unavailable', () => undefined);
    // For the test of rotations. The example has nothing to rotate for.
    made.app.use(async (ctx, next) => {
      if (ctx.path !== '/rotate') {
        await next();
        return;
      }
      await (await sessions.getSession(ctx))!.rotate();
      ctx.status = 204;
    });
    const answer = made.app.callback();
    server = createServer((request, response) => void answer(request, response));
    room = Container.get(Room);
    sockets = new Sockets(server, sessions, room);
    await once(server.listen(0, '127.0.0.1'), 'listening');
    host = `127.0.0.1:${(server.address() as AddressInfo).port}`;
  }

  beforeEach(async () => {
    backend = new AwayBackend();
    await serve(backend);
  });
  afterEach(async () => {
    Container.reset();
    for (const socket of opened.splice(0)) socket.terminate();
    server.closeAllConnections();
    server.close();
    await sessions.close();
  });

  async function member(username: string) {
    const client = new Client(`http://${host}`);
    await client.post('/login').send({ username }).expect(200);
    const cookie = `session=${client.cookie()!}`;
    const socket = open({ cookie });
    return { client, cookie, socket, greeting: await heard(socket) };
  }

  const open = (headers: Record<string, string>, options: ClientOptions = {}) => {
    const socket = new WebSocket(`ws://${host}`, { headers, ...options });
    // Some tests end while the handshake is under way.
    socket.on('error', () => undefined);
    opened.push(socket);
    return socket;
  };
  const heard = async (socket: WebSocket) => {
    const [text] = (await once(socket, 'message')) as [Buffer];
    return JSON.parse(text.toString()) as unknown;
  };
  const codeOfClosing = async (socket: WebSocket) => ((await once(socket, 'close')) as [number])[0];
  const say = (socket: WebSocket, message: object) => socket.send(JSON.stringify(message));
  /** Resolves when the server has handled what was sent so far. */
  const answered = async (socket: WebSocket) => {
    socket.ping();
    await once(socket, 'pong');
  };
  const sessionOf = async (username: string) => (await sessions.listSessions(username))[0]!;

  describe('the handshake', () => {
    test('lets a session in, and what a member says, all hear', async () => {
      const [ada, bob] = [await member('ada'), await member('bob')];
      expect(ada.greeting).toEqual({ from: 'server', text: 'hello, ada' });
      const both = Promise.all([heard(ada.socket), heard(bob.socket)]);
      say(bob.socket, { say: 'tea?' });
      expect(await both).toEqual([
        { from: 'bob', text: 'tea?' },
        { from: 'bob', text: 'tea?' },
      ]);
    });

    test('is refused with 403 without a session, with an ended one, and from a page of another origin', async () => {
      const { client, cookie } = await member('ada');
      const refused = async (headers: Record<string, string>) => {
        const [error] = (await once(open(headers), 'error')) as [Error];
        return error.message;
      };
      const origin = `http://${host}`;
      expect(await heard(open({ cookie, origin }))).toMatchObject({ text: 'hello, ada' });
      for (const headers of [{}, { cookie: 'session=invented' }, { cookie, origin: 'https://evil.example' }])
        expect(await refused(headers)).toContain('403');
      await client.post('/logout').expect(200);
      expect(await refused({ cookie })).toContain('403');
    });

    test('is refused with 503 while the store is away', async () => {
      const { cookie } = await member('ada');
      backend.isAway = true;
      const [, response] = (await once(open({ cookie }), 'unexpected-response')) as [unknown, IncomingMessage];
      expect([response.statusCode, response.headers['retry-after']]).toEqual([503, '1']);
    });

    test('that a client breaks off leaves nothing behind', async () => {
      const { cookie } = await member('ada');
      const [name, port] = host.split(':');
      const socket = connect({ host: name!, port: Number(port) });
      const accepted = once(server, 'upgrade');
      socket.write(
        `GET / HTTP/1.1\r\nHost: ${host}\r\nCookie: ${cookie}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n`,
      );
      socket.write('Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n');
      await accepted;
      socket.resetAndDestroy();
      await until(() => sockets.size === 1 && room.size === 1, 'the end of the other one');
    });
  });

  describe('an open socket closes', () => {
    test('with 4401 when its session logs out on another connection, and no other one does', async () => {
      const [ada, bob] = [await member('ada'), await member('bob')];
      const closed = codeOfClosing(ada.socket);
      await ada.client.post('/logout').expect(200);
      expect(await closed).toBe(SESSION_OVER);
      const echo = heard(bob.socket);
      say(bob.socket, { say: 'still here' });
      expect(await echo).toEqual({ from: 'bob', text: 'still here' });
      expect(room.size).toBe(1);
    });

    test('with 4401 when a job ends its session, and hears nothing of what is said from then on', async () => {
      const ada = await member('ada');
      const lines: unknown[] = [];
      ada.socket.on('message', line => lines.push(line));
      const closed = codeOfClosing(ada.socket);
      await sessions.endSession((await sessionOf('ada')).id);
      room.say({ from: 'bob', text: 'is she gone?' });
      expect(await closed).toBe(SESSION_OVER);
      expect(lines).toEqual([]);
    });

    test('with 4401 when its session expires', async () => {
      const { socket } = await member('ada');
      const closed = codeOfClosing(socket);
      clock.advance(3601);
      expect(await closed).toBe(SESSION_OVER);
    });

    test('with 4401 when its session was over before the handshake was done', async () => {
      const { client, cookie, socket } = await member('ada');
      const authenticate = sessions.authenticate.bind(sessions);
      sessions.authenticate = async request => {
        const session = await authenticate(request);
        expect(session!.signal.aborted).toBe(false);
        await client.post('/logout').expect(200);
        expect(session!.signal.aborted).toBe(true);
        return session;
      };
      expect(await Promise.all([socket, open({ cookie })].map(codeOfClosing))).toEqual([SESSION_OVER, SESSION_OVER]);
    });

    test('with 1013 when the store is away for so long that nobody could tell', async () => {
      sessions.authenticate = () => Promise.resolve({ signal: AbortSignal.abort(new Error('unavailable')) } as never);
      expect(await codeOfClosing(open({}))).toBe(TRY_AGAIN_LATER);
    });

    test('and is cut off when its client does not close', async () => {
      const { client, socket } = await member('ada');
      socket.pause();
      await client.post('/logout').expect(200);
      await until(() => sockets.size === 0, 'the cut', 15);
    });

    test('with 1001 when the server ends', async () => {
      const { socket } = await member('ada');
      const closed = codeOfClosing(socket);
      sockets.close();
      expect(await closed).toBe(GOING_AWAY);
    });

    test('when its client does not answer the heartbeat; one that does stays open', async () => {
      const { cookie, socket } = await member('ada');
      const dead = open({ cookie }, { autoPong: false });
      await heard(dead);
      const closed = once(dead, 'close');
      const asked = Promise.all([once(socket, 'ping'), once(dead, 'ping')]);
      sockets.beat();
      await asked;
      await answered(socket);
      sockets.beat();
      await closed;
      await answered(socket);
      expect(sockets.size).toBe(1);
    });

    test('together with all 50 of its user', async () => {
      const ada = await member('ada');
      const bob = await member('bob');
      const others = Array.from({ length: 49 }, async (_, n) => {
        const cookie = n % 2 === 0 ? ada.cookie : await signIn(sessions, { username: 'ada', nickname: `ada ${n}` });
        const socket = open({ cookie });
        await heard(socket);
        return socket;
      });
      const all = [ada.socket, ...(await Promise.all(others))];
      expect(sockets.size).toBe(51);
      const codes = Promise.all(all.map(codeOfClosing));
      await bob.client.post('/logout').expect(200);
      await until(() => sockets.size === 50, "bob's");
      await ada.client.post('/logout-everywhere').expect(200, { ended: 25 });
      expect(await codes).toEqual(all.map(() => SESSION_OVER));
      await until(() => sockets.size === 0, 'all of them');
    });
  });

  test('a rotation closes no socket', async () => {
    const { client, cookie, socket } = await member('ada');
    await client.post('/rotate').expect(204);
    expect(`session=${client.cookie()!}`).not.toBe(cookie);
    const echo = heard(socket);
    say(socket, { say: 'still here' });
    expect(await echo).toEqual({ from: 'ada', text: 'still here' });
    const closed = codeOfClosing(socket);
    await client.post('/logout').expect(200);
    expect(await closed).toBe(SESSION_OVER);
  });

  test('what a member says keeps the session alive; an open socket and its heartbeats do not', async () => {
    const [ada, bob] = [await member('ada'), await member('bob')];
    const closed = codeOfClosing(bob.socket);
    for (let n = 0; n < 3; n++) {
      clock.advance(1500);
      say(bob.socket, {});
      sockets.beat();
      await answered(bob.socket);
      if (n < 2) expect((await sessionOf('bob')).lastSeenAt.getTime()).toBeLessThan(clock.now() - 1000);
      say(ada.socket, { say: 'and another thing' });
      await until(async () => (await sessionOf('ada')).lastSeenAt.getTime() === clock.now(), 'the touch');
    }
    expect(await closed).toBe(SESSION_OVER);
    await answered(ada.socket);
  });

  test('a socket changes the data of its session, within the rules of the model', async () => {
    const { client, socket } = await member('ada');
    say(socket, { nickname: 'Countess' });
    await until(async () => {
      const { body } = await client.get('/me').expect(200);
      return body.nickname === 'Countess';
    }, 'the nickname');
    const echo = heard(socket);
    say(socket, { say: 'call me that' });
    expect(await echo).toEqual({ from: 'Countess', text: 'call me that' });
    const refusal = heard(socket);
    say(socket, { nickname: 'x'.repeat(65) });
    expect(await refusal).toEqual({ from: 'server', text: 'not that name' });
    await client.get('/me').expect(200, { username: 'ada', nickname: 'Countess' });
  });

  test('what is not a message is overheard, and what is too long closes the socket', async () => {
    const { socket } = await member('ada');
    for (const text of ['', 'tea?', 'null', '[]', '{"say":1}']) socket.send(text);
    await answered(socket);
    socket.send('x'.repeat(5000));
    expect(await codeOfClosing(socket)).toBe(1009);
  });

  describe('the event stream', () => {
    async function stream(cookie: string) {
      const asked = get(`http://${host}/lines`, { headers: { cookie }, agent: false });
      opened.push({ terminate: () => asked.destroy() });
      const [response] = (await once(asked, 'response')) as [IncomingMessage];
      let text = '';
      response.setEncoding('utf8').on('data', (chunk: string) => (text += chunk));
      return { asked, response, text: () => text };
    }

    test('has what is said, and ends with its session, by an event that tells', async () => {
      const { client, cookie } = await member('ada');
      const { response, text } = await stream(cookie);
      expect(response.statusCode).toBe(200);
      expect(response.headers).toMatchObject({
        'content-type': 'text/event-stream',
        'cache-control': 'no-store',
        vary: expect.stringContaining('Cookie'),
      });
      room.say({ from: 'bob', text: 'tea?' });
      await until(() => text().includes('tea?'), 'the line');
      const ended = once(response, 'end');
      await client.post('/logout').expect(200);
      await ended;
      expect(text()).toBe(':\n\ndata: {"from":"bob","text":"tea?"}\n\nevent: session-over\ndata: {}\n\n');
      await client.get('/lines').expect(403);
      await until(() => room.size === 0, 'the end of the listener');
    });

    test('leaves nothing behind when its client goes away', async () => {
      const { cookie } = await member('ada');
      const { asked } = await stream(cookie);
      expect(room.size).toBe(2);
      asked.destroy();
      await until(() => room.size === 1, 'the end of the listener');
    });
  });

  describe('the page', () => {
    type Run = () => void;
    interface Exports {
      stayConnected(
        url: string,
        page: { onMessage(line: unknown): void; onOver(): void; isLoggedIn(): Promise<boolean> },
      ): (message: object) => void;
    }

    /** The page's module, with a browser's part played by the test. */
    function load() {
      const file = path.join(__dirname, '../../examples/websocket/page/stay-connected.js');
      const { code } = transformSync(readFileSync(file, 'utf8'), { format: 'cjs' });
      const delays: number[] = [];
      let pass: Run | undefined;
      const module = { exports: {} as Exports };
      const globals = {
        module,
        WebSocket: class extends WebSocket {
          constructor(url: string) {
            super(url, { headers: { cookie } });
            this.on('error', () => undefined);
            opened.push(this);
          }
        },
        setTimeout: (run: Run, delay: number) => {
          delays.push(delay);
          pass = run;
        },
      };
      let cookie = '';
      // eslint-disable-next-line @typescript-eslint/no-implied-eval -- a module of the browser's
      new Function(...Object.keys(globals), code)(...Object.values(globals));
      const lines: unknown[] = [];
      const page = { over: 0, isLoggedIn: () => Promise.resolve(true) };
      return {
        delays,
        lines,
        page,
        start: (own: string) => {
          cookie = own;
          return module.exports.stayConnected(`ws://${host}`, {
            onMessage: line => lines.push(line),
            onOver: () => page.over++,
            isLoggedIn: () => page.isLoggedIn(),
          });
        },
        /** Lets the time pass for which the page waits. */
        wait: async () => {
          await until(() => pass !== undefined, 'a page that waits');
          const run = pass!;
          pass = undefined;
          run();
        },
      };
    }

    test('comes back after a lost connection, each time later, and not once its session is over', async () => {
      const { client, cookie } = await member('ada');
      const { delays, lines, page, start, wait } = load();
      const send = start(cookie);
      await until(() => lines.length === 1, 'the greeting');
      backend.isAway = true;
      sockets.close();
      for (let n = 0; n < 8; n++) await wait();
      await until(() => delays.length === 9, 'a ninth time');
      delays.forEach((delay, n) => {
        expect(delay).toBeGreaterThanOrEqual(Math.min(500 * 2 ** n, 30_000) / 2);
        expect(delay).toBeLessThanOrEqual(Math.min(500 * 2 ** n, 30_000));
      });
      backend.isAway = false;
      await wait();
      await until(() => lines.length === 2, 'the second greeting');
      send({ say: 'back again' });
      await until(() => lines.length === 3, 'the echo');
      sockets.close();
      await until(() => delays.length === 10, 'a new wait');
      expect(delays[9]).toBeLessThanOrEqual(500);
      await wait();
      await until(() => lines.length === 4, 'the third greeting');
      expect(page.over).toBe(0);

      await client.post('/logout').expect(200);
      await until(() => page.over === 1, 'the end');
      expect(delays).toHaveLength(10);
    });

    test('does not come back either when its session ended while it had no connection', async () => {
      const { delays, page, start, wait } = load();
      start('session=of-yesterday');
      page.isLoggedIn = () => Promise.reject(new Error('no network'));
      await wait();
      await until(() => delays.length === 2, 'another attempt');
      page.isLoggedIn = () => Promise.resolve(false);
      await wait();
      await until(() => page.over === 1, 'the end');
      expect(delays).toHaveLength(2);
    });
  });
});
