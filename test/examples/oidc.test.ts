import type { Server } from 'node:http';
import type { AddressInfo } from 'node:net';

import { Container } from 'typedi';

import { createApp } from '../../examples/oidc/app.js';
import { Client } from '../support/client.js';
import { TestProvider } from './test-provider.js';

describe('the example with OpenID Connect', () => {
  const provider = new TestProvider();
  let server: Server;
  let url: string;

  beforeAll(() => provider.start());
  afterAll(() => provider.stop());

  beforeEach(async () => {
    provider.answer = {};
    const app = createApp('a-secret-of-the-tests-32-bytes-long', provider.settings);
    await new Promise<void>(resolve => (server = app.listen(0, '127.0.0.1', resolve)));
    url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  });
  afterEach(async () => {
    Container.reset();
    await new Promise(resolve => server.close(resolve));
  });

  /** Goes to the provider, as the application says, and comes back to the path that the provider names. */
  async function throughProvider(client: Client): Promise<string> {
    const login = await client.get('/login').expect(302);
    return provider.visit(login.get('Location') ?? '');
  }

  test('logs in the user of the provider, and out', async () => {
    const client = new Client(url);
    await client.get('/me').expect(403);
    const back = await throughProvider(client);
    const answer = await client.get(back).expect(302);
    expect(answer.get('Location')).toBe('/me');
    await client.get('/me').expect(200, { subject: 'user-1', name: 'Ada' });
    await client.post('/logout').expect(200);
    await client.get('/me').expect(403);
  });

  test('an answer counts once', async () => {
    const client = new Client(url);
    const back = await throughProvider(client);
    await client.get(back).expect(302);
    await client.get(back).expect(403);
    expect(provider.exchanges).toBe(1);
  });

  test('an answer to the log-in of another browser is refused: nobody can be logged in as somebody else', async () => {
    const [victim, attacker] = [new Client(url), new Client(url)];
    const back = await throughProvider(attacker);
    await victim.get(back).expect(403);
    await throughProvider(victim);
    await victim.get(back).expect(401);
    await victim.get('/me').expect(403);
    expect(provider.exchanges).toBe(0);
  });

  test('a stolen code is worth nothing without the verifier of its log-in', async () => {
    const [victim, thief] = [new Client(url), new Client(url)];
    const stolen = new URLSearchParams((await throughProvider(victim)).split('?')[1]).get('code') ?? '';
    const own = await throughProvider(thief);
    await thief.get(own.replace(/code=[^&]*/, `code=${stolen}`)).expect(401);
    await thief.get('/me').expect(403);
  });

  test('a log-in that the user cancels is no log-in', async () => {
    const client = new Client(url);
    const back = await throughProvider(client);
    await client.get(back.replace(/code=[^&]*/, 'error=access_denied')).expect(401);
    await client.get('/me').expect(403);
  });

  test.each([
    ['another provider', { iss: 'https://evil.example' }],
    ['another application', { aud: 'another' }],
    ['another log-in', { nonce: 'another' }],
    ['the past', { exp: 1 }],
  ])('an ID token of %s is refused', async (_, claims) => {
    provider.answer = claims;
    const client = new Client(url);
    await client.get(await throughProvider(client)).expect(401);
    expect(provider.exchanges).toBe(1);
    await client.get('/me').expect(403);
  });
});
