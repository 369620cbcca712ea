import 'reflect-metadata';

import { once } from 'node:events';
import { createServer, get, type IncomingMessage, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';

import { InMemoryBackend } from 'routing-controllers-sessions';
import { signIn } from 'routing-controllers-sessions/testing';
import request from 'supertest';
import { Container } from 'typedi';

import { createPlayground, type Playground } from '../../playground/app.js';

interface Listed {
  id: string;
  current: boolean;
}

interface Refusal {
  headers: Record<string, string>;
  body: { code: string };
}

/** What a stream of events said, as it comes in. */
class Events {
  readonly received: { event: string; data: unknown }[] = [];
  closed = false;
  #wake: () => void = () => undefined;

  constructor(readonly response: IncomingMessage) {
    let text = '';
    response.setEncoding('utf8').on('data', (chunk: string) => {
      text += chunk;
      const blocks = text.split('\n\n');
      text = blocks.pop()!;
      for (const block of blocks) {
        const [, event, data] = /^event: (.*)\ndata: (.*)$/.exec(block) ?? [];
        if (event) this.received.push({ event, data: JSON.parse(data!) });
      }
      this.#wake();
    });
    response.once('close', () => {
      this.closed = true;
      this.#wake();
    });
  }

  /** The first event that is as wanted, whether it came already or is still to come. */
  async find<T>(event: string, wanted: (data: T) => boolean = () => true): Promise<T> {
    for (;;) {
      const found = this.received.find(one => one.event === event && wanted(one.data as T));
      if (found) return found.data as T;
      if (this.closed) throw new Error(`closed without ${event}: ${JSON.stringify(this.received)}`);
      await this.#next();
    }
  }

  async untilClosed(): Promise<void> {
    while (!this.closed) await this.#next();
  }

  #next(): Promise<void> {
    return new Promise(resolve => (this.#wake = resolve));
  }
}

describe('the playground', () => {
  let playground: Playground;
  let server: Server;
  let ahead: number;

  beforeEach(async () => {
    ahead = 0;
    Container.reset();
    playground = createPlayground({
      secretKey: '0123456789abcdef0123456789abcdef',
      backend: new InMemoryBackend(),
      otherPort: 4000,
      clock: () => Date.now() + ahead,
    });
    const answer = playground.app.callback();
    server = createServer((incoming, outgoing) => void answer(incoming, outgoing));
    await once(server.listen(0, '127.0.0.1'), 'listening');
  });
  afterEach(async () => {
    playground.hangUp();
    const closed = once(server.close(), 'close');
    server.closeAllConnections();
    await closed;
    await playground.close();
  });

  const logIn = (username = 'ada') => signIn(playground.sessions, { username });

  async function listen(cookie: string): Promise<Events> {
    const { port } = server.address() as AddressInfo;
    const asked = get({ port, path: '/devices/events', headers: { cookie }, agent: false });
    const [response] = (await once(asked, 'response')) as [IncomingMessage];
    return new Events(response);
  }

  describe('/apples', () => {
    test('counts every one of 100 requests that come at once', async () => {
      const cookie = await logIn();
      const answers = await Promise.all(
        Array.from({ length: 100 }, () => request(server).post('/apples').set('Cookie', cookie).expect(200)),
      );
      const counts = answers.map(({ body }) => body.apples as number).sort((a, b) => a - b);
      expect(counts).toEqual(Array.from({ length: 100 }, (_, at) => at + 1));
    });
  });

  describe('/session', () => {
    test('tells what the page shows, and no token', async () => {
      const cookie = await logIn();
      const { body, text } = await request(server).get('/session').set('Cookie', cookie).expect(200);
      expect(body).toMatchObject({ data: { username: 'ada' }, limits: { idleTimeout: 900, absoluteTimeout: 28800 } });
      expect(new Date(body.expiresAt).getTime() - new Date(body.lastSeenAt).getTime()).toBe(900_000);
      expect(text).not.toContain(/session=([\w-]+)/.exec(cookie)![1]);
    });

    test('is refused when it was idle for too long', async () => {
      const cookie = await logIn();
      ahead = 901_000;
      await request(server).get('/session').set('Cookie', cookie).expect(403);
    });

    test('goes on under a new id and cookie after a rotation', async () => {
      const cookie = await logIn();
      const { body, headers } = await request(server).post('/session/rotate').set('Cookie', cookie).expect(200);
      expect(body.after).not.toBe(body.before);
      await request(server).get('/session').set('Cookie', cookie).expect(403);
      const fresh = headers['set-cookie']![0]!.split(';')[0]!;
      const { body: session } = await request(server).get('/session').set('Cookie', fresh).expect(200);
      expect(session.id).toBe(body.after);
    });
  });

  describe('/vault', () => {
    test('wants a recent log-in, and takes a confirmation for one, which keeps the data', async () => {
      const cookie = await logIn();
      await request(server).post('/apples').set('Cookie', cookie).expect(200);
      ahead = 29_000;
      await request(server).get('/vault').set('Cookie', cookie).expect(200);
      ahead = 31_000;
      const { body } = await request(server).get('/vault').set('Cookie', cookie).expect(403);
      expect(body.code).toBe('ERR_SESSION_NOT_FRESH');
      const { headers } = await request(server).post('/vault/confirm').set('Cookie', cookie).expect(200);
      const fresh = headers['set-cookie']![0]!.split(';')[0]!;
      await request(server).get('/vault').set('Cookie', fresh).expect(200);
      await request(server).get('/vault').set('Cookie', cookie).expect(403);
      const { body: session } = await request(server).get('/session').set('Cookie', fresh).expect(200);
      expect(session.data).toEqual({ username: 'ada', apples: 1 });
    });
  });

  describe('/devices', () => {
    test("lists a user's sessions and marks the one that asks", async () => {
      const cookies = [await logIn(), await logIn(), await logIn('bob')];
      const { body } = await request(server).get('/devices').set('Cookie', cookies[1]!).expect(200);
      expect(body).toHaveLength(2);
      const { body: own } = await request(server).get('/session').set('Cookie', cookies[1]!);
      expect((body as Listed[]).filter(({ current }) => current)).toMatchObject([{ id: own.id }]);
    });

    test('ends one by its id', async () => {
      const [cookie, other] = [await logIn(), await logIn()];
      const { body } = await request(server).get('/session').set('Cookie', other);
      await request(server).delete(`/devices/${body.id}`).set('Cookie', cookie).expect(200);
      await request(server).get('/session').set('Cookie', other).expect(403);
      await request(server).get('/session').set('Cookie', cookie).expect(200);
    });

    test("does not end another user's session", async () => {
      const [cookie, bobs] = [await logIn(), await logIn('bob')];
      const { body } = await request(server).get('/session').set('Cookie', bobs);
      await request(server).delete(`/devices/${body.id}`).set('Cookie', cookie).expect(404);
      await request(server).get('/session').set('Cookie', bobs).expect(200);
    });

    test("ends all others of this user's", async () => {
      const [cookie, other, bobs] = [await logIn(), await logIn(), await logIn('bob')];
      const { body } = await request(server).delete('/devices').set('Cookie', cookie).expect(200);
      expect(body).toEqual({ ended: 1 });
      await request(server).get('/session').set('Cookie', other).expect(403);
      await request(server).get('/session').set('Cookie', cookie).expect(200);
      await request(server).get('/session').set('Cookie', bobs).expect(200);
    });

    test.each(['get', 'delete'] as const)('refuses to %s without a session', async verb => {
      await request(server)[verb]('/devices').expect(403);
    });
  });

  describe('/devices/events', () => {
    test('tells of log-ins and log-outs of this user, and of no other', async () => {
      const events = await listen(await logIn());
      expect(events.response.headers).toMatchObject({
        'content-type': 'text/event-stream',
        'cache-control': 'no-store',
      });
      await events.find('sessions', (list: Listed[]) => list.length === 1 && list[0]!.current);
      await logIn('bob');
      const other = await logIn();
      const list = await events.find('sessions', (sessions: Listed[]) => sessions.length === 2);
      expect(list.filter(({ current }) => current)).toHaveLength(1);
      events.received.length = 0;
      await request(server).post('/leave_session').set('Cookie', other).expect(200);
      await events.find('sessions', (sessions: Listed[]) => sessions.length === 1);
    });

    test('says that its session is over, and why, and ends', async () => {
      const [cookie, other] = [await logIn(), await logIn()];
      const events = await listen(other);
      await request(server).delete('/devices').set('Cookie', cookie).expect(200);
      expect(await events.find('over')).toEqual({ reason: 'revoked' });
      await events.untilClosed();
    });

    test('follows its session through a rotation', async () => {
      const cookie = await logIn();
      const events = await listen(cookie);
      const { body, headers } = await request(server).post('/session/rotate').set('Cookie', cookie).expect(200);
      await events.find('sessions', ([first]: Listed[]) => first!.id === body.after && first!.current);
      const fresh = headers['set-cookie']![0]!.split(';')[0]!;
      await request(server).post('/leave_session').set('Cookie', fresh).expect(200);
      expect(await events.find('over')).toEqual({ reason: 'logout' });
    });

    test('tells of a request of another origin that its cookie came with, without the secret', async () => {
      const cookie = await logIn();
      const events = await listen(cookie);
      const origin = 'http://127.0.0.1:4000';
      await request(server).post('/apples').set('Cookie', cookie).set('Origin', origin).expect(403);
      const refused = await events.find<Refusal>('refused');
      expect(refused).toMatchObject({ method: 'POST', path: '/apples', status: 403, headers: { Origin: origin } });
      expect(refused.headers['Cookie']).toContain('session=(hidden)');
      expect(refused.body.code).toBe('ERR_SESSION_CROSS_ORIGIN');
    });

    test('ends when the server hangs up', async () => {
      const events = await listen(await logIn());
      await events.find('sessions');
      playground.hangUp();
      await events.untilClosed();
    });

    test('is nothing for those without a session', async () => {
      await request(server).get('/devices/events').expect(403);
    });
  });

  describe('Playground-Exchange', () => {
    const exchangeOf = ({ headers }: request.Response) =>
      JSON.parse(headers['playground-exchange']!) as { cookie?: string; setCookie: string[] };

    test('repeats both cookies, and hides what is secret', async () => {
      const answer = await request(server).post('/get_session?username=ada').set('Cookie', 'a=1; b=2').expect(200);
      expect(exchangeOf(answer)).toEqual({
        cookie: 'a=(hidden); b=(hidden)',
        setCookie: ['session=(hidden); Path=/; HttpOnly; SameSite=Lax; Max-Age=28800'],
      });
      const [, value] = /^session=([^;]+)/.exec(answer.headers['set-cookie']![0]!)!;
      const others = Object.entries(answer.headers).filter(([name]) => name !== 'set-cookie');
      expect(JSON.stringify([others, answer.body])).not.toContain(value);
    });

    test('shows a cleared cookie as it is', async () => {
      const answer = await request(server)
        .post('/leave_session')
        .set('Cookie', await logIn());
      expect(exchangeOf(answer).setCookie).toEqual([
        expect.stringMatching(/^session=; Path=\/; HttpOnly;.* Max-Age=0/),
      ]);
    });

    test('survives whatever stands in the Cookie header', async () => {
      const answer = await request(server).get('/secure').set('Cookie', '\u00fc=1; =; ;;\t"x"; ok=2; {}=3').expect(403);
      expect(exchangeOf(answer)).toEqual({ cookie: 'ok=(hidden)', setCookie: [] });
    });
  });

  describe('/sources.json', () => {
    test('has the code of every route of the document, cut at its decorators and its closing brace', async () => {
      const { body: sources } = await request(server).get('/sources.json').expect(200);
      const { body: document } = await request(server).get('/openapi.json').expect(200);
      const documented = Object.entries(document.paths as Record<string, object>).flatMap(([path, item]) =>
        Object.keys(item).map(verb => `${verb.toUpperCase()} ${path.replace(/\{(\w+)\}/g, ':$1')}`),
      );
      const own = sources.map(({ verb, path }: { verb: string; path: string }) => `${verb} ${path}`);
      expect(own.sort()).toEqual(documented.sort());
      for (const { code, file, line } of sources) {
        expect(code).toMatch(/^@(Get|Post|Delete)\(.*\n[^]*\n\}$/);
        expect(code).not.toMatch(/\n\}\n/);
        expect(file).toMatch(/^playground\/\w+-controller\.ts$/);
        expect(line).toBeGreaterThan(5);
      }
    });
  });

  describe('/', () => {
    test('frames the other origin and nothing else, and is framed by nobody', async () => {
      const { headers, text } = await request(server).get('/').expect(200);
      const policy = String(headers['content-security-policy']);
      expect(policy).toContain('frame-src http://127.0.0.1:4000;');
      expect(policy).toContain("frame-ancestors 'none'");
      expect(policy).toContain("script-src 'self';");
      expect(policy).not.toMatch(/unsafe|\*/);
      expect(text).not.toMatch(/<script(?![^>]* src=)|<style|\sstyle=|\son\w+=/);
    });

    test('does not repeat a Host header that is no host name', async () => {
      const { headers } = await request(server).get('/').set('Host', "x;script-src'unsafe-inline'");
      expect(headers['content-security-policy']).toContain('frame-src http://127.0.0.1:4000;');
    });
  });
});
