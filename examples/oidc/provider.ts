import { createHash, randomBytes } from 'node:crypto';

import { UnauthorizedError } from 'routing-controllers';

export interface ProviderSettings {
  /** The provider's address, as it writes it in its own `iss`. */
  issuer: string;
  clientId: string;
  clientSecret: string;
  /** The application's /callback, as registered with the provider. */
  redirectUri: string;
}

/** What a log-in must remember between the two visits of the browser. */
export interface PendingLogin {
  state: string;
  nonce: string;
  verifier: string;
}

interface Endpoints {
  authorization_endpoint: string;
  token_endpoint: string;
}

export interface Claims {
  iss: string;
  aud: string | string[];
  sub: string;
  exp: number;
  nonce?: string;
  name?: string;
}

/** The provider's side of a log-in: OpenID Connect's code flow with PKCE. */
export class Provider {
  #endpoints: Endpoints | undefined;

  constructor(private readonly settings: ProviderSettings) {}

  /** A new log-in: the address to send the browser to, and what to remember. */
  async begin(): Promise<{ url: string; pending: PendingLogin }> {
    const { authorization_endpoint: endpoint } = await this.#discover();
    const pending = { state: secret(), nonce: secret(), verifier: secret() };
    const url = new URL(endpoint);
    url.search = new URLSearchParams({
      response_type: 'code',
      scope: 'openid profile',
      client_id: this.settings.clientId,
      redirect_uri: this.settings.redirectUri,
      state: pending.state,
      nonce: pending.nonce,
      code_challenge: createHash('sha256').update(pending.verifier).digest('base64url'),
      code_challenge_method: 'S256',
    }).toString();
    return { url: url.href, pending };
  }

  /** @throws UnauthorizedError if the provider refuses the code, or if the ID token is not for this log-in */
  async redeem(code: string, { nonce, verifier }: PendingLogin, now: number): Promise<Claims> {
    const { clientId, clientSecret, redirectUri, issuer } = this.settings;
    const { token_endpoint: endpoint } = await this.#discover();
    const response = await fetch(endpoint, {
      method: 'POST',
      body: new URLSearchParams({
        grant_type: 'authorization_code',
        code,
        code_verifier: verifier,
        redirect_uri: redirectUri,
        client_id: clientId,
        client_secret: clientSecret,
      }),
    });
    if (!response.ok) throw new UnauthorizedError('The provider refused the code');
    const { id_token: token } = (await response.json()) as { id_token: string };
    // TLS to the provider stands for the signature's check, as OpenID Connect Core 3.1.3.7 allows. A token that comes
    // another way, through the browser for one, needs that check.
    const claims = JSON.parse(Buffer.from(token.split('.')[1] ?? '', 'base64url').toString()) as Claims;
    if (claims.iss !== issuer) throw new UnauthorizedError('The ID token is of another provider');
    if (![claims.aud].flat().includes(clientId)) throw new UnauthorizedError('The ID token is for another application');
    if (claims.exp * 1000 <= now) throw new UnauthorizedError('The ID token has expired');
    if (claims.nonce !== nonce) throw new UnauthorizedError('The ID token is of another log-in');
    return claims;
  }

  async #discover(): Promise<Endpoints> {
    if (this.#endpoints) return this.#endpoints;
    const response = await fetch(`${this.settings.issuer.replace(/\/$/, '')}/.well-known/openid-configuration`);
    if (!response.ok) throw new Error(`The provider's configuration: ${response.status}`);
    return (this.#endpoints = (await response.json()) as Endpoints);
  }
}

const secret = () => randomBytes(32).toString('base64url');
