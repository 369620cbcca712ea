import { readFileSync } from 'node:fs';
import type { Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import path from 'node:path';

import { Container } from 'typedi';

import { createApp, type Settings } from '../../examples/spa/app.js';
import { Client } from '../support/client.js';
import { parseSetCookie } from '../support/set-cookie-parts.js';

const PAGE = 'http://localhost:5173';
const secretKey = 'a-secret-of-the-tests-32-bytes-long';

describe('the example with a page of another origin', () => {
  let server: Server;

  async function serve(settings: Partial<Settings> = {}): Promise<Client> {
    const app = createApp({ secretKey, pageOrigin: PAGE, ...settings });
    await new Promise<void>(resolve => (server = app.listen(0, '127.0.0.1', resolve)));
    return new Client(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);
  }
  afterEach(async () => {
    Container.reset();
    await new Promise(resolve => server.close(resolve));
  });

  /** What a browser adds to requests of a page. */
  const from = (Origin: string) => ({ Origin, 'Sec-Fetch-Site': Origin === PAGE ? 'same-site' : 'cross-site' });
  const readable = { 'access-control-allow-origin': PAGE, 'access-control-allow-credentials': 'true' };

  test('the page logs in, reads, writes and logs out, and may read every answer', async () => {
    const client = await serve();
    const refused = await client.get('/me').set(from(PAGE)).expect(403);
    expect(refused.headers).toMatchObject(readable);
    await client.post('/login').set(from(PAGE)).send({ username: 'ada' }).expect(200);
    const clicked = await client.post('/clicks').set(from(PAGE)).expect(200, { username: 'ada', clicks: 1 });
    expect(clicked.headers).toMatchObject(readable);
    await client.get('/me').set(from(PAGE)).expect(200, { username: 'ada', clicks: 1 });
    await client.post('/logout').set(from(PAGE)).expect(200);
    await client.get('/me').set(from(PAGE)).expect(403);
  });

  test('the preflight of JSON is answered for the page', async () => {
    const client = await serve();
    const answer = await client
      .send('options', '/login')
      .set({ ...from(PAGE), 'Access-Control-Request-Method': 'POST', 'Access-Control-Request-Headers': 'content-type' })
      .expect(204);
    expect(answer.headers).toMatchObject({ ...readable, 'access-control-allow-headers': 'content-type' });
  });

  test('a page of a third origin can neither write nor read', async () => {
    const client = await serve();
    await client.post('/login').send({ username: 'ada' }).expect(200);
    const evil = from('https://evil.example');
    await client.post('/clicks').set(evil).expect(403);
    const read = await client.get('/me').set(evil).expect(200, { username: 'ada', clicks: 0 });
    expect(read.headers['access-control-allow-origin']).not.toBe('https://evil.example');
  });

  test.each([
    ['the same site', false, { samesite: 'Lax' }],
    ['another site', true, { samesite: 'None', secure: true, partitioned: true }],
  ])('the cookie for a page of %s', async (_, otherSite, attributes) => {
    const client = await serve({ otherSite });
    const answer = await client.post('/login').set(from(PAGE)).send({ username: 'ada' }).expect(200);
    expect(parseSetCookie(answer.get('Set-Cookie')?.[0] ?? '').attributes).toMatchObject(attributes);
  });

  test('the page sends its cookie with every request', () => {
    const source = readFileSync(path.resolve(__dirname, '../../examples/spa/page/page.js'), 'utf8');
    expect(source.match(/\bfetch\(/g)).toHaveLength(1);
    expect(source).toMatch(/fetch\(api \+ path, \{\s+method,\s+credentials: 'include'/);
  });
});
