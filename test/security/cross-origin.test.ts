import 'reflect-metadata';

import { createServer, type IncomingMessage, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';

import type { Session } from 'routing-controllers-sessions';
import { WebSocket, WebSocketServer } from 'ws';

import { ask, askRaw, cookieOf, type Life, logIn, startLife, statusOf, type UserSession } from '../support/life.js';

const TRUSTED = 'https://app.example.com';

describe('Requests from other origins', () => {
  let life: Life;
  let host: string;
  let cookie: string;
  let ran = 0;
  beforeAll(async () => {
    life = await startLife({ cookie: { trustedOrigins: [TRUSTED] } });
    life.acts.set('count', () => {
      ran++;
    });
    host = new URL(life.url).host;
    ({ cookie } = await logIn(life));
  });

  /** The rule, said once more: by what a browser says of itself. */
  function passes(method: string, site: string | undefined, origin: string | undefined): boolean {
    if (['GET', 'HEAD', 'OPTIONS'].includes(method)) return true;
    if (origin === TRUSTED) return true;
    if (site !== undefined) return ['same-origin', 'none'].includes(site);
    return origin === undefined || ['http', 'https'].some(scheme => origin === `${scheme}://${host}`);
  }

  const methods = ['GET', 'HEAD', 'OPTIONS', 'POST', 'PUT', 'PATCH', 'DELETE'];
  const sites = [
    undefined,
    'same-origin',
    'none',
    'same-site',
    'cross-site',
    '',
    'Same-Origin',
    'same-origin, cross-site',
    'new-word',
  ];
  const origins = [
    undefined,
    'own',
    'own over https',
    TRUSTED,
    'http://app.example.com',
    'https://app.example.com:8443',
    'https://APP.example.com',
    'https://evil.example',
    'https://app.example.com.evil.example',
    'null',
    '',
    'no origin',
    'http://127.0.0.1',
    `${TRUSTED}, https://evil.example`,
  ];

  test.each(['guarded', 'optional'])(
    '%s routes: every combination of method, Sec-Fetch-Site and Origin follows the rule, and a refused action does not run',
    async guard => {
      let tried = 0;
      const wrong: unknown[] = [];
      for (const method of methods) {
        for (const site of sites) {
          for (const given of origins) {
            const origin = given === 'own' ? `http://${host}` : given === 'own over https' ? `https://${host}` : given;
            const headers = {
              ...(site === undefined ? {} : { 'sec-fetch-site': site }),
              ...(origin === undefined ? {} : { origin }),
            };
            const before = ran;
            const { status } = await ask(life, `/${guard}/count`, { method, cookie, headers });
            tried++;
            const expected = passes(method, site, origin) ? { status: 200, ran: 1 } : { status: 403, ran: 0 };
            const found = { status, ran: ran - before };
            if (found.status !== expected.status || found.ran !== expected.ran)
              wrong.push({ method, site, origin, found });
          }
        }
      }
      expect({ tried, wrong }).toEqual({ tried: 7 * 9 * 14, wrong: [] });
    },
    60_000,
  );

  test('fails with a code of its own, an event, and without touching cookie or backend', async () => {
    life.events.length = life.backend.calls.length = 0;
    const headers = { 'sec-fetch-site': 'cross-site', origin: 'https://evil.example' };
    const answer = await ask(life, '/guarded/count', { method: 'POST', cookie, headers });
    expect(answer.status).toBe(403);
    expect(answer.body).toMatchObject({ code: 'ERR_SESSION_CROSS_ORIGIN', name: 'CrossOriginRequestError' });
    expect(String(answer.body['message'])).toContain('trustedOrigins');
    expect(answer.setCookies).toEqual([]);
    expect(life.backend.calls).toEqual([]);
    expect(life.reasons('rejected')).toEqual(['cross-origin']);
  });

  test.each([
    ['Sec-Fetch-Site twice', ['Sec-Fetch-Site: same-origin', 'Sec-Fetch-Site: same-origin'], 403],
    ['Sec-Fetch-Site twice, differing', ['Sec-Fetch-Site: same-origin', 'Sec-Fetch-Site: cross-site'], 403],
    ['a trusted Origin twice', [`Origin: ${TRUSTED}`, `Origin: ${TRUSTED}`], 403],
    ['a trusted Origin and another', [`Origin: ${TRUSTED}`, 'Origin: https://evil.example'], 403],
    ['the own host, another Origin first', ['Origin: https://evil.example', 'Origin: http://HOST'], 403],
    ['once', ['Sec-Fetch-Site: same-origin'], 200],
  ])('a header that is repeated: %s', async (_, headers, status) => {
    const lines = [
      'POST /guarded/count HTTP/1.1',
      'Content-Length: 0',
      `Cookie: ${cookie}`,
      ...headers.map(line => line.replace('HOST', host)),
    ];
    expect(statusOf(await askRaw(life, lines))).toBe(status);
  });

  test('hosts are compared without regard to case, and with their ports', async () => {
    const send = (hostHeader: string, origin: string) =>
      askRaw(life, [
        'POST /guarded/count HTTP/1.1',
        `Host: ${hostHeader}`,
        'Content-Length: 0',
        `Cookie: ${cookie}`,
        `Origin: ${origin}`,
      ]);
    expect(statusOf(await send('LocalHost:3000', 'http://localhost:3000'))).toBe(200);
    expect(statusOf(await send('localhost:3000', 'http://localhost:3001'))).toBe(403);
    expect(statusOf(await send('localhost', 'http://localhost:3000'))).toBe(403);
    expect(statusOf(await send('[::1]:3000', 'http://[::1]:3000'))).toBe(200);
  });

  test('X-Forwarded-Host does not change the host without app.proxy', async () => {
    const headers = { origin: 'https://shop.example', 'x-forwarded-host': 'shop.example' };
    expect((await ask(life, '/guarded/count', { method: 'POST', cookie, headers })).status).toBe(403);
    const proxied = await startLife({ before: koa => (koa.proxy = true) });
    expect((await ask(proxied, '/open/login', { method: 'POST', headers })).status).toBe(200);
  });

  test.each([
    undefined,
    'text/plain',
    'application/x-www-form-urlencoded',
    'multipart/form-data; boundary=x',
    'application/json',
  ])('the content type %s changes nothing', async type => {
    const content = type === undefined ? {} : { 'content-type': type };
    for (const [site, status] of [
      ['cross-site', 403],
      ['same-origin', 200],
    ] as const) {
      const headers = { ...content, 'sec-fetch-site': site };
      expect((await ask(life, '/guarded/count', { method: 'POST', cookie, headers })).status).toBe(status);
    }
  });

  test('a log-in from another origin is refused: no session, no cookie, and the existing session stays', async () => {
    const size = life.backend.size;
    for (const headers of [
      { 'sec-fetch-site': 'cross-site' },
      { 'sec-fetch-site': 'same-site' },
      { origin: 'https://evil.example' },
      { origin: 'null' },
    ]) {
      const answer = await ask(life, '/open/login?user=mallory', { method: 'POST', cookie, headers });
      expect([answer.status, answer.body['code'], answer.setCookies]).toEqual([403, 'ERR_SESSION_CROSS_ORIGIN', []]);
    }
    expect(life.backend.size).toBe(size);
    expect((await ask(life, '/guarded/who', { cookie })).body['data']).toEqual({ username: 'ada' });
  });

  test('a log-in from a trusted origin works', async () => {
    const headers = { 'sec-fetch-site': 'cross-site', origin: TRUSTED };
    const answer = await ask(life, '/open/login', { method: 'POST', headers });
    expect(answer.status).toBe(200);
    expect((await ask(life, '/guarded/who', { cookie: cookieOf(answer) })).status).toBe(200);
  });

  test('routes without a session are not protected', async () => {
    const headers = { 'sec-fetch-site': 'cross-site', origin: 'https://evil.example' };
    expect((await ask(life, '/open/count', { method: 'POST', headers })).status).toBe(200);
  });
});

describe('WebSocket upgrades', () => {
  let life: Life;
  let server: Server;
  let url: string;
  /** Who is connected, and by which session. */
  const greeted: Session<UserSession>[] = [];

  beforeAll(async () => {
    life = await startLife({ cookie: { trustedOrigins: [TRUSTED] } });
    const sockets = new WebSocketServer({ noServer: true });
    server = createServer();
    server.on('upgrade', (request: IncomingMessage, socket, head) => {
      const refuse = (status: string) => socket.end(`HTTP/1.1 ${status}\r\nConnection: close\r\n\r\n`);
      life.sessions.authenticate(request).then(
        session => {
          if (!session) return refuse('401 Unauthorized');
          greeted.push(session);
          return sockets.handleUpgrade(request, socket, head, client => client.send(session.data.username));
        },
        () => refuse('503 Service Unavailable'),
      );
    });
    await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve));
    url = `ws://127.0.0.1:${(server.address() as AddressInfo).port}`;
  });

  afterAll(async () => {
    await new Promise(resolve => server.close(resolve));
  });

  /** The first message of a connection, or the status of its refusal; and the cookies of either. */
  function connect(headers: Record<string, string>): Promise<{ answer: string | number; setCookies: string[] }> {
    return new Promise((resolve, reject) => {
      const client = new WebSocket(url, { headers });
      let setCookies: string[] = [];
      client.on('upgrade', ({ headers: given }) => (setCookies = given['set-cookie'] ?? []));
      client.on('message', (data: Buffer) => {
        client.close();
        resolve({ answer: data.toString(), setCookies });
      });
      client.on('unexpected-response', (_request, response) => {
        resolve({ answer: response.statusCode ?? 0, setCookies: response.headers['set-cookie'] ?? [] });
        client.terminate();
      });
      client.on('error', reject);
    });
  }

  test('with a session, from the own origin, a trusted one or none, it is accepted and no cookie is set', async () => {
    const { cookie, id } = await logIn(life);
    for (const headers of [{}, { origin: url.replace('ws:', 'http:') }, { origin: TRUSTED }])
      await expect(connect({ cookie, ...headers })).resolves.toEqual({ answer: 'ada', setCookies: [] });
    expect(greeted.map(session => session.id)).toEqual([id, id, id]);
  });

  test('without a session, with a dead one or with garbage it is refused', async () => {
    const { cookie } = await logIn(life);
    await ask(life, '/guarded/logout', { method: 'POST', cookie });
    const headers: Record<string, string>[] = [
      {},
      { cookie },
      { cookie: 'session=x' },
      { cookie: `session=${'A'.repeat(87)}` },
    ];
    for (const given of headers) await expect(connect(given)).resolves.toEqual({ answer: 401, setCookies: [] });
  });

  test('with a session, from a page of another origin, it is refused, which a browser would not have done', async () => {
    const { cookie } = await logIn(life);
    life.events.length = 0;
    const headers: Record<string, string>[] = [
      { origin: 'https://evil.example' },
      { origin: 'null' },
      { origin: url.replace('ws:', 'http:'), 'sec-fetch-site': 'cross-site' },
      { 'sec-fetch-site': 'same-site' },
    ];
    for (const given of headers)
      await expect(connect({ cookie, ...given })).resolves.toEqual({ answer: 401, setCookies: [] });
    expect(life.reasons('rejected')).toEqual(Array(4).fill('cross-origin'));
  });

  test('when the backend fails it is neither accepted nor called anonymous', async () => {
    const { cookie } = await logIn(life);
    life.backend.failing.add('read');
    await expect(connect({ cookie })).resolves.toEqual({ answer: 503, setCookies: [] });
    life.backend.failing.clear();
    await expect(connect({ cookie })).resolves.toMatchObject({ answer: 'ada' });
  });

  test('its session can be changed and ended, but not rotated: no response could carry the cookie', async () => {
    const { cookie } = await logIn(life);
    greeted.length = 0;
    await connect({ cookie });
    const [session] = greeted;
    await session!.update(data => void (data.visits = 7));
    expect((await ask(life, '/guarded/who', { cookie })).body['data']).toEqual({ username: 'ada', visits: 7 });
    await expect(session!.rotate()).rejects.toMatchObject({ code: 'ERR_SESSION_HEADERS_SENT' });
    expect((await ask(life, '/guarded/who', { cookie })).status).toBe(200);
    await session!.end();
    expect((await ask(life, '/guarded/who', { cookie })).status).toBe(403);
  });

  test('an expired session is refused', async () => {
    const { cookie } = await logIn(life);
    life.clock.advance(8 * 86_400);
    await expect(connect({ cookie })).resolves.toMatchObject({ answer: 401 });
  });
});
