import 'reflect-metadata';

import { createServer, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Duplex } from 'node:stream';
import { PassThrough } from 'node:stream';
import { IsString } from 'class-validator';
import Koa from 'koa';
import { WebSocketServer } from 'ws';
import { SessionCookie } from '../../src/koa/index.js';
import { Principal } from '../../src/model/principal.js';
import { SessionData } from '../../src/model/session-data.js';
import { openBackend } from './open-backend.js';

/** Told by its parent: the engine, where it is, and the options of the cookie service as JSON. */
const [engine = '', address = '', options = '{}'] = process.argv.slice(2);

/** Decorated by calls, because this file is built without types. */
class LiveSession {
  username!: string;
}
IsString()(LiveSession.prototype, 'username');
Principal()(LiveSession.prototype, 'username');
SessionData()(LiveSession);

void (async () => {
  const backend = await openBackend(engine, address);
  const sessions = new SessionCookie<LiveSession>({
    dataModel: LiveSession,
    secretKey: '0123456789abcdef0123456789abcdef',
    backend,
    sweepInterval: 0,
    ...(JSON.parse(options) as object),
  });
  // Failures are what the campaign is about.
  sessions.on('unavailable', () => undefined);

  const app = new Koa({ silent: true } as never);
  app.on('error', (error: Error) => process.env['LIVE_DEBUG'] && process.stderr.write(`${error.stack}\n`));
  const guarded = sessions.requireSession();
  app.use(async (ctx, next) => {
    const { as = '', id = '' } = ctx.query as Record<string, string>;
    if (ctx.path === '/login') ctx.body = { id: (await sessions.createSession({ username: as }, ctx)).id };
    else if (ctx.path === '/end') ctx.body = { ended: await sessions.endSession(id) };
    else if (ctx.path === '/endall') ctx.body = { ended: await sessions.endSessions(as) };
    else await guarded(ctx, next);
  });
  app.use(async ctx => {
    if (ctx.path !== '/stream') {
      ctx.body = {};
      return;
    }
    const stream = new PassThrough();
    const { signal } = (await sessions.getSession(ctx))!;
    stream.write('open\n');
    const end = (): void => void stream.end(`${(signal.reason as { code: string }).code}\n`);
    if (signal.aborted) end();
    else signal.addEventListener('abort', end);
    ctx.body = stream;
  });

  const server = createServer((req, res) => void app.callback()(req, res));
  const sockets = new WebSocketServer({ noServer: true });
  const upgrade = async (request: IncomingMessage, socket: Duplex, head: Buffer): Promise<void> => {
    const session = await sessions.authenticate(request).catch(() => undefined);
    if (!session) {
      socket.end('HTTP/1.1 403 Forbidden\r\nConnection: close\r\n\r\n');
      return;
    }
    sockets.handleUpgrade(request, socket, head, client => {
      const { signal } = session;
      const end = (): void => client.close(4401, (signal.reason as { code: string }).code);
      if (signal.aborted) end();
      else signal.addEventListener('abort', end);
    });
  };
  server.on('upgrade', (request, socket, head) => void upgrade(request, socket, head));
  server.listen(0, '127.0.0.1', () => process.send?.({ port: (server.address() as AddressInfo).port }));
  process.on('disconnect', () => process.exit());
})();
