import { createHash, randomUUID } from 'node:crypto';
import { createServer, type IncomingMessage, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';

import type { ProviderSettings } from '../../examples/oidc/provider.js';

/** An OpenID Connect provider with one user, who always agrees. It refuses what the specification says to refuse. */
export class TestProvider {
  /** What the next ID token has in place of what is right. */
  answer: Record<string, unknown> = {};
  /** How often the application came with a code since the last visit of /authorize. */
  exchanges = 0;

  readonly #codes = new Map<string, URLSearchParams>();
  readonly #server: Server = createServer((request, response) => {
    const reply = (status: number, body?: object, headers: Record<string, string> = {}) => {
      response.writeHead(status, { 'Content-Type': 'application/json', ...headers }).end(JSON.stringify(body ?? {}));
    };
    void this.#answer(request, reply);
  });

  async start(): Promise<void> {
    await new Promise<void>(resolve => this.#server.listen(0, '127.0.0.1', resolve));
  }

  async stop(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise(resolve => this.#server.close(resolve));
  }

  get settings(): ProviderSettings {
    return {
      issuer: `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`,
      clientId: 'the-application',
      clientSecret: 'its-secret',
      redirectUri: 'https://app.example/callback',
    };
  }

  /** A browser's visit. @returns the path and query of the address that the provider sends the browser to */
  async visit(address: string): Promise<string> {
    const response = await fetch(address, { redirect: 'manual' });
    const { origin, pathname, search } = new URL(response.headers.get('location') ?? '');
    expect(origin).toBe('https://app.example');
    return pathname + search;
  }

  async #answer(
    request: IncomingMessage,
    reply: (status: number, body?: object, headers?: Record<string, string>) => void,
  ): Promise<void> {
    const { issuer, clientId, clientSecret, redirectUri } = this.settings;
    const { pathname, searchParams: asked } = new URL(request.url ?? '', issuer);
    if (pathname === '/.well-known/openid-configuration') {
      reply(200, { issuer, authorization_endpoint: `${issuer}/authorize`, token_endpoint: `${issuer}/token` });
    } else if (pathname === '/authorize') {
      this.exchanges = 0;
      const isRight =
        asked.get('response_type') === 'code' &&
        asked.get('scope')?.split(' ').includes('openid') === true &&
        asked.get('client_id') === clientId &&
        asked.get('redirect_uri') === redirectUri &&
        asked.get('code_challenge_method') === 'S256';
      const code = randomUUID();
      if (isRight) this.#codes.set(code, asked);
      const back = new URLSearchParams({
        state: asked.get('state') ?? '',
        ...(isRight ? { code } : { error: 'invalid' }),
      });
      reply(302, {}, { Location: `${redirectUri}?${back.toString()}` });
    } else if (pathname === '/token' && request.method === 'POST') {
      this.exchanges++;
      const form = new URLSearchParams(await text(request));
      const code = form.get('code') ?? '';
      const login = this.#codes.get(code);
      this.#codes.delete(code);
      const challenge = createHash('sha256')
        .update(form.get('code_verifier') ?? '')
        .digest('base64url');
      const isRight =
        form.get('grant_type') === 'authorization_code' &&
        form.get('client_id') === clientId &&
        form.get('client_secret') === clientSecret &&
        form.get('redirect_uri') === redirectUri &&
        login?.get('code_challenge') === challenge;
      if (!isRight) {
        reply(400, { error: 'invalid_grant' });
        return;
      }
      const exp = Math.floor(Date.now() / 1000) + 300;
      const claims = { iss: issuer, aud: clientId, sub: 'user-1', name: 'Ada', exp, nonce: login.get('nonce') };
      const part = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url');
      reply(200, {
        token_type: 'Bearer',
        access_token: 'unused',
        id_token: `${part({ alg: 'none' })}.${part({ ...claims, ...this.answer })}.`,
      });
    } else reply(404);
  }
}
