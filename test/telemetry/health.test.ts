import 'reflect-metadata';

import Koa from 'koa';
import { InMemoryBackend, SessionCookie } from 'routing-controllers-sessions';
import { RedisBackend } from 'routing-controllers-sessions/redis';

import { connectToRedis } from '../campaigns/steady-clients.js';
import { SECRET } from '../support/app.js';
import { describeWith, type PrivateServer, startRedis, until } from '../support/engines.js';
import { HttpServer } from '../support/http-server.js';
import { UserSession } from '../support/life.js';
import { OutageProxy } from '../support/outage-proxy.js';

const settings = { dataModel: UserSession, secretKey: SECRET };

describe('SessionCookie.health', () => {
  test('resolves with nothing for a store that answers', async () => {
    const sessions = new SessionCookie({ ...settings, backend: new InMemoryBackend() });
    await expect(sessions.health()).resolves.toBeUndefined();
    await sessions.close();
  });

  test('throws SessionConfigurationError when there is no backend', async () => {
    await expect(new SessionCookie(settings).health()).rejects.toMatchObject({ code: 'ERR_SESSION_CONFIG' });
  });
});

describeWith('redis', 'SessionCookie.health with a Redis behind a network that fails', () => {
  let redis: PrivateServer;
  let proxy: OutageProxy;
  let client: Awaited<ReturnType<typeof connectToRedis>>;
  let sessions: SessionCookie<UserSession>;
  let server: HttpServer;
  let unavailable: string[];

  beforeAll(async () => {
    redis = await startRedis();
    proxy = await OutageProxy.start(redis.port);
    client = await connectToRedis(`redis://127.0.0.1:${proxy.port}`);
    const backend = new RedisBackend({ client });
    // Far more than a busy machine needs, where the store answers. What is asked of a black hole waits as long as that.
    sessions = new SessionCookie({ ...settings, backend, backendTimeout: 1 });
    unavailable = [];
    sessions.on('unavailable', ({ operation }) => unavailable.push(operation));
    const koa = new Koa();
    koa.use(async (ctx, next) => {
      if (ctx.path !== '/ready') {
        await next();
        return;
      }
      await sessions.health();
      ctx.status = 204;
    });
    server = await HttpServer.start(koa.callback());
  });

  afterAll(async () => {
    await server.close();
    await sessions.close();
    client.destroy();
    await proxy.stop();
    await redis.stop();
  });

  const probe = () => server.send('GET', '/ready');
  const isReady = async () => (await probe()).status === 204;

  test.each<[string, () => Promise<void> | void]>([
    ['refuses connections', () => proxy.goDown()],
    ['swallows everything', () => proxy.becomeBlackHole()],
  ])('rejects while the network %s, as 503 to a probe, and resolves again afterwards', async (_, fail) => {
    await until(isReady, 'the store to be ready');
    unavailable.length = 0;
    await fail();
    await expect(sessions.health()).rejects.toMatchObject({ code: 'ERR_SESSION_UNAVAILABLE' });
    const { status, headers } = await probe();
    expect([status, headers['retry-after']]).toEqual([503, '1']);
    expect(new Set(unavailable)).toEqual(new Set(['read']));
    await proxy.heal();
    await until(isReady, 'the store to be ready again');
  });
});
