import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';

import { createClient } from 'redis';
import { InMemoryBackend, SessionCookie } from 'routing-controllers-sessions';
import { RedisBackend } from 'routing-controllers-sessions/redis';
import { Container } from 'typedi';

import { createApp } from './app.js';
import { MemoryCounters, RedisCounters, Throttle } from './throttle.js';

const { PORT = '3000', REDIS_URL, SECRET_FILE, BEHIND_PROXY } = process.env;

async function start(): Promise<void> {
  const client = REDIS_URL === undefined ? undefined : createClient({ url: REDIS_URL });
  client?.on('error', (error: unknown) => {
    console.error('redis', error);
  });
  await client?.connect();
  const server = createApp({
    secretKey: SECRET_FILE ? readFileSync(SECRET_FILE, 'utf8').trim() : randomBytes(32).toString('base64url'),
    backend: client ? new RedisBackend({ client }) : new InMemoryBackend(),
    throttle: new Throttle(client ? new RedisCounters(client) : new MemoryCounters()),
    proxy: BEHIND_PROXY === 'yes',
  }).listen(Number(PORT), () => {
    console.log(`http://localhost:${PORT}, with sessions in ${client ? 'Redis' : 'memory'}`);
  });
  process.once('SIGTERM', () => {
    server.close(
      () =>
        void Container.get(SessionCookie)
          .close()
          .then(() => client?.close()),
    );
  });
}

void start();
