import 'reflect-metadata';

import { once } from 'node:events';
import { createServer, get, type IncomingMessage, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';

import { InMemoryBackend } from 'routing-controllers-sessions';
import { signIn } from 'routing-controllers-sessions/testing';
import request from 'supertest';
import { Container } from 'typedi';

import { createPlayground, type Playground } from '../../playground/app.js';
import { HeldPace } from '../support/held-pace.js';

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
  let backend: InMemoryBackend;
  let pace: HeldPace;

  beforeEach(async () => {
    ahead = 0;
    backend = new InMemoryBackend();
    pace = new HeldPace();
    Container.reset();
    playground = createPlayground({
      secretKey: '0123456789abcdef0123456789abcdef',
      backend,
      backendName: 'redis',
      otherPort: 4000,
      pace,
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

  async function listen(cookie = ''): Promise<Events> {
    const { port } = server.address() as AddressInfo;
    const asked = get({ port, path: '/events', headers: { ...(cookie && { cookie }) }, agent: false });
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

  describe('/pears', () => {
    test('loses assignments that come at once: two of each pair read the same number', async () => {
      pace.together = 2;
      const cookie = await logIn();
      await Promise.all(
        Array.from({ length: 20 }, () => request(server).post('/pears').set('Cookie', cookie).expect(200)),
      );
      const { body } = await request(server).get('/session').set('Cookie', cookie).expect(200);
      expect(body.data.pears).toBe(10);
    });
  });

  describe('/apples/slowly', () => {
    test('saves nothing when the session was ended meanwhile, and brings nothing back', async () => {
      const cookie = await logIn();
      const events = await listen(cookie);
      const slow = request(server)
        .post('/apples/slowly')
        .set('Cookie', cookie)
        .then(answer => answer);
      await events.find('begun');
      await request(server).post('/leave_session').set('Cookie', cookie).expect(200);
      pace.reported.open();
      const { status, body, headers } = await slow;
      expect([status, body.code]).toEqual([409, 'ERR_SESSION_GONE']);
      expect(headers['set-cookie']).toBeUndefined();
      await request(server).get('/secure').set('Cookie', cookie).expect(403);
    });

    test('saves its apple when nobody logs out', async () => {
      const cookie = await logIn();
      pace.reported.open();
      await request(server).post('/apples/slowly').set('Cookie', cookie).expect(200, { apples: 1 });
      const { body } = await request(server).get('/session').set('Cookie', cookie);
      expect(body.data.apples).toBe(1);
    });
  });

  describe('/store', () => {
    test('shows the record of the own session as the backend has it', async () => {
      const cookie = await logIn();
      const { body, text } = await request(server).get('/store').set('Cookie', cookie).expect(200);
      const [id, secret, mac] = /session=([\w.-]+)/.exec(cookie)![1]!.split('.');
      expect(body.record).toEqual({ ...(await backend.read(id!)) });
      expect(text).not.toContain(secret);
      expect(text).not.toContain(mac);
    });

    test('shows nothing without a session', () => request(server).get('/store').expect(403));
  });

  describe('/clock', () => {
    test('moves the time of the cookie services on, and sets it right', async () => {
      const cookie = await logIn();
      const { body } = await request(server).post('/clock?seconds=899').set('Cookie', cookie).expect(200);
      expect(new Date(body.now).getTime() - new Date(body.before).getTime()).toBeGreaterThanOrEqual(899_000);
      expect(body.ahead).toBe(899);
      await request(server).get('/session').set('Cookie', cookie).expect(200);
      await request(server).post('/clock?seconds=901').expect(200);
      await request(server).get('/session').set('Cookie', cookie).expect(403);
      await request(server).delete('/clock').expect(200);
      const { body: session } = await request(server)
        .get('/session')
        .set('Cookie', await logIn())
        .expect(200);
      expect(Math.abs(new Date(session.now).getTime() - Date.now())).toBeLessThan(600_000);
    });

    test.each(['0', '-1', '1.5', 'soon', '', '2592001'])('is not moved by %s seconds', async seconds => {
      const { body } = await request(server).post(`/clock?seconds=${seconds}`).expect(400);
      expect(body.message).toMatch(/second/);
    });

    test('is not moved by a page of another origin', async () => {
      await request(server).post('/clock?seconds=901').set('Origin', 'http://127.0.0.1:4000').expect(403);
      await request(server).delete('/clock').set('Origin', 'http://127.0.0.1:4000').expect(403);
    });
  });

  describe('Playground-Cookie', () => {
    const askAs = (cookie: string, trick: string, path = '/secure') =>
      request(server).get(path).set('Cookie', cookie).set('Playground-Cookie', trick);
    const reported = ({ headers }: request.Response) =>
      (JSON.parse(headers['playground-exchange']!) as { events: { reason?: string }[] }).events.map(
        ({ reason }) => reason,
      );

    test('replays a copied cookie, until a rotation supersedes it', async () => {
      const cookie = await logIn();
      const { body } = await request(server).post('/thief/copies').set('Cookie', cookie).expect(200);
      await askAs('', `copy ${body.copy}`).expect(200);
      await request(server).post('/session/rotate').set('Cookie', cookie).expect(200);
      expect(reported(await askAs('', `copy ${body.copy}`).expect(403))).toEqual(['superseded']);
    });

    test.each([
      ['guess', '/secure', ['signature']],
      ['alter', '/secure', ['signature']],
      ['rename', '/admin', ['signature']],
      ['copy unknown', '/secure', []],
      ['anything', '/secure', []],
    ])('%s on %s opens nothing', async (trick, path, reasons) => {
      const cookie = await logIn();
      expect(reported(await askAs(cookie, trick, path).expect(403))).toEqual(reasons);
    });

    test('reaches no request that changes something', async () => {
      const cookie = await logIn();
      const { body } = await request(server).post('/thief/copies').set('Cookie', cookie).expect(200);
      const answer = request(server).post('/apples').set('Playground-Cookie', `copy ${body.copy}`);
      await answer.expect(403);
    });

    test('copies nothing for those without a session', () => request(server).post('/thief/copies').expect(403));
  });

  describe('/admin', () => {
    test('has sessions of its own, beside those of users', async () => {
      const client = request.agent(server);
      await client.post('/get_session?username=ada').expect(200);
      await client.get('/admin').expect(403);
      await client.post('/admin/log_in').expect(200);
      const { body } = await client.get('/admin').expect(200);
      expect(body.admin).toEqual({ admin: 'grace' });
      await client.post('/leave_session').expect(200);
      await client.get('/admin').expect(200);
      await client.post('/admin/log_out').expect(200);
      await client.get('/admin').expect(403);
    });
  });

  describe('/session', () => {
    test('returns the data of the page, and no token', async () => {
      const cookie = await logIn();
      const { body, text } = await request(server).get('/session').set('Cookie', cookie).expect(200);
      expect(body).toMatchObject({ data: { username: 'ada' }, limits: { idleTimeout: 900, absoluteTimeout: 28800 } });
      expect(new Date(body.expiresAt).getTime() - new Date(body.lastSeenAt).getTime()).toBe(900_000);
      expect(text).not.toContain(/session=[\w-]+\.([\w-]+)/.exec(cookie)![1]);
    });

    test('is refused when it was idle for too long', async () => {
      const cookie = await logIn();
      ahead = 901_000;
      await request(server).get('/session').set('Cookie', cookie).expect(403);
    });

    test('keeps its id through a rotation, and gets a new cookie', async () => {
      const cookie = await logIn();
      const { body: before } = await request(server).get('/session').set('Cookie', cookie).expect(200);
      const { body, headers } = await request(server).post('/session/rotate').set('Cookie', cookie).expect(200);
      expect(body).toEqual({ id: before.id });
      await request(server).get('/session').set('Cookie', cookie).expect(403);
      const fresh = headers['set-cookie']![0]!.split(';')[0]!;
      const { body: session } = await request(server).get('/session').set('Cookie', fresh).expect(200);
      expect(session.id).toBe(before.id);
    });
  });

  describe('/vault', () => {
    test('requires a recent log-in, accepts a confirmation as one, and keeps the data', async () => {
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

  describe('/events', () => {
    test('reports log-ins and log-outs of this user, and of no other', async () => {
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

    test('reports that its session is over, with the reason, and ends', async () => {
      const [cookie, other] = [await logIn(), await logIn()];
      const events = await listen(other);
      await request(server).delete('/devices').set('Cookie', cookie).expect(200);
      const over = await events.find<{ reason: string; after: number }>('over');
      expect(over).toEqual({ reason: 'revoked', after: expect.any(Number) });
      expect(over.after).toBeGreaterThan(0);
      await events.untilClosed();
    });

    test('reports that its session was ended by another process, and ends', async () => {
      const events = await listen(await logIn());
      const [own] = await events.find<Listed[]>('sessions');
      await backend.delete(own!.id);
      expect(await events.find('over')).toEqual({ reason: 'elsewhere' });
      await events.untilClosed();
    });

    test('follows its session through a rotation', async () => {
      const cookie = await logIn();
      const events = await listen(cookie);
      const { body, headers } = await request(server).post('/session/rotate').set('Cookie', cookie).expect(200);
      await events.find('sessions', ([first]: Listed[]) => first!.id === body.id && first!.current);
      const fresh = headers['set-cookie']![0]!.split(';')[0]!;
      await request(server).post('/leave_session').set('Cookie', fresh).expect(200);
      expect(await events.find('over')).toMatchObject({ reason: 'logout' });
    });

    test('reports a request of another origin with its cookie, without the secret', async () => {
      const cookie = await logIn();
      const events = await listen(cookie);
      const origin = 'http://127.0.0.1:4000';
      await request(server).post('/apples').set('Cookie', cookie).set('Origin', origin).expect(403);
      const refused = await events.find<Refusal>('refused');
      expect(refused).toMatchObject({ method: 'POST', path: '/apples', status: 403, headers: { Origin: origin } });
      expect(refused.headers['Cookie']).toMatch(/session=[\w-]{22}\.\(secret\)\.\(mac\)/);
      expect(refused.body.code).toBe('ERR_SESSION_CROSS_ORIGIN');
    });

    test('ends when the server hangs up', async () => {
      const events = await listen(await logIn());
      await events.find('sessions');
      playground.hangUp();
      await events.untilClosed();
    });

    test('tells those without a session what is reported, and nothing of a session', async () => {
      const events = await listen();
      await events.find('clock');
      await logIn('bob');
      expect(await events.find('report')).toMatchObject({ cookie: 'session', event: 'created', principal: 'bob' });
      await request(server).get('/secure').set('Cookie', 'session=forged').expect(403);
      await events.find('report', ({ reason }: { reason?: string }) => reason === 'malformed');
      expect(events.received.map(({ event }) => event)).not.toContain('sessions');
    });

    test('reports to everybody that the clock was moved', async () => {
      const events = await listen(await logIn());
      await request(server).post('/clock?seconds=60').expect(200);
      await events.find('clock', ({ ahead: by }: { ahead: number }) => by === 60);
    });

    test('does not count as activity while it is open', async () => {
      const cookie = await logIn();
      const events = await listen(cookie);
      await events.find('sessions');
      ahead = 899_000;
      await logIn();
      await events.find('sessions', (list: Listed[]) => list.length === 2);
      ahead = 901_000;
      await request(server).get('/session').set('Cookie', cookie).expect(403);
    });
  });

  describe('Playground-Exchange', () => {
    const exchangeOf = ({ headers }: request.Response) =>
      JSON.parse(headers['playground-exchange']!) as {
        cookie?: string;
        setCookie: string[];
        events: { event: string; principal?: string }[];
      };

    test('repeats both cookies, and hides what is secret', async () => {
      const answer = await request(server).post('/get_session?username=ada').set('Cookie', 'a=1; b=2').expect(200);
      const [, id, secret, mac] = /^session=([\w-]+)\.([\w-]+)\.([\w-]+)/.exec(answer.headers['set-cookie']![0]!)!;
      expect(exchangeOf(answer)).toEqual({
        cookie: 'a=(hidden); b=(hidden)',
        setCookie: [`session=${id}.(secret).(mac); Path=/; HttpOnly; SameSite=Lax; Max-Age=28800`],
        events: [expect.objectContaining({ event: 'created', cookie: 'session', id, principal: 'ada' })],
      });
      const others = Object.entries(answer.headers).filter(([name]) => name !== 'set-cookie');
      for (const part of [secret, mac]) expect(JSON.stringify([others, answer.body])).not.toContain(part);
    });

    test('carries names that no header could', async () => {
      const name = 'Łukasz 🍎';
      const answer = await request(server)
        .post(`/get_session?username=${encodeURIComponent(name)}`)
        .expect(200);
      expect(exchangeOf(answer).events).toMatchObject([{ event: 'created', principal: name }]);
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
      expect(exchangeOf(answer)).toEqual({ cookie: 'ok=(hidden)', setCookie: [], events: [] });
    });
  });

  describe('a query', () => {
    test.each([
      ['username=ada&username=eve', 'username: given 2 times; write it once'],
      ['username=%20%20%20', 'username: only blanks; write something that can be read'],
      ['username=%E2%80%8B%00', 'username: only blanks; write something that can be read'],
      ['username=%E2%80%83', 'username: only blanks; write something that can be read'],
      [`username=${'a'.repeat(201)}`, 'username: at most 200 characters'],
      ['username=ada&x=1&x=2', 'x: given 2 times; write it once'],
    ])('%s is refused, and nobody is logged in', async (query, message) => {
      const { body, headers } = await request(server).post(`/get_session?${query}`).expect(400);
      expect(body).toEqual({ name: 'BadRequestError', message });
      expect(headers['set-cookie']).toBeUndefined();
    });
  });

  describe('/guide', () => {
    test("serves the project's documents, and links between them", async () => {
      const { text } = await request(server).get('/guide/README.md').expect(200).expect('Content-Type', /html/);
      const [, absolute] = /href="(\/guide\/docs\/[\w-]+\.md)"/.exec(text)!;
      const { text: page } = await request(server).get(absolute!).expect(200);
      const [, relative] = /href="([\w-]+\.md)"/.exec(page)!;
      await request(server).get(`/guide/docs/${relative}`).expect(200);
    });

    test.each(['/guide/', '/guide/package.json', '/guide/../package.json', '/guide/docs/%2e%2e/README.md'])(
      'does not serve %s',
      url => request(server).get(url).expect(404),
    );
  });

  describe('/settings.json', () => {
    test('names the backend and the port of the other origin', async () => {
      await request(server).get('/settings.json').expect(200, { otherPort: 4000, backend: 'redis' });
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

    test('does not repeat a Host header that is not a host name', async () => {
      const { headers } = await request(server).get('/').set('Host', "x;script-src'unsafe-inline'");
      expect(headers['content-security-policy']).toContain('frame-src http://127.0.0.1:4000;');
    });
  });
});
