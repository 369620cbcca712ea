import { createServer as createHttpServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { createServer as createHttpsServer } from 'node:https';
import type { AddressInfo } from 'node:net';

import { InMemoryBackend, type SessionCookie } from 'routing-controllers-sessions';
import { Container } from 'typedi';

import { createPlayground } from '../../playground/app.js';
import { createOtherOrigin } from '../../playground/other-origin.js';
import type { UserSession } from '../../playground/user-session.js';
import { HeldPace } from '../support/held-pace.js';

export interface OpenPlayground {
  url: string;
  port: number;
  otherPort: number;
  sessions: SessionCookie<UserSession>;
  pace: HeldPace;
  /** Every request so far, as it came in. */
  requests: { method: string; url: string; headers: IncomingMessage['headers'] }[];
  /** Moves the server's time on, by seconds. */
  pass(seconds: number): void;
  close(): Promise<void>;
}

/** The playground, and its other origin, on ports that are free. */
export async function openPlayground(tls?: { key: Buffer; cert: Buffer }): Promise<OpenPlayground> {
  let port = 0;
  let ahead = 0;
  const requests: OpenPlayground['requests'] = [];
  const otherOrigin = createOtherOrigin(() => port).callback();
  const other = createHttpServer((request, response) => void otherOrigin(request, response));
  const otherPort = await listen(other);
  const pace = new HeldPace();

  Container.reset();
  const playground = createPlayground({
    secretKey: '0123456789abcdef0123456789abcdef',
    backend: new InMemoryBackend(),
    otherPort,
    pace,
    clock: () => Date.now() + ahead,
  });
  const answer = playground.app.callback();
  const listener = (request: IncomingMessage, response: ServerResponse) => {
    requests.push({ method: request.method!, url: request.url!, headers: request.headers });
    void answer(request, response);
  };
  const server = tls ? createHttpsServer(tls, listener) : createHttpServer(listener);
  port = await listen(server);

  return {
    url: tls ? `https://localhost:${port}` : `http://127.0.0.1:${port}`,
    port,
    otherPort,
    sessions: playground.sessions,
    pace,
    requests,
    pass: seconds => (ahead += seconds * 1000),
    close: async () => {
      playground.hangUp();
      await Promise.all([end(server), end(other)]);
      await playground.close();
    },
  };
}

/** @returns the port */
export async function listen(server: Server): Promise<number> {
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve));
  return (server.address() as AddressInfo).port;
}

export function end(server: Server): Promise<void> {
  return new Promise(resolve => {
    server.close(() => resolve());
    server.closeAllConnections();
  });
}
