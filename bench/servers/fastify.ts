import fastifyCookie from '@fastify/cookie';
import fastifySession, { type FastifySessionOptions } from '@fastify/session';
import { RedisStore } from 'connect-redis';
import fastify, { type FastifyInstance, type FastifyRequest } from 'fastify';
import { createClient } from 'redis';

import { LIFETIME, meOf, nextProfile, type Profile, SECRET, somethingSlow } from '../profile.js';
import type { Engines, Opened, Store } from '../subject.js';

declare module 'fastify' {
  interface Session {
    profile?: Profile;
  }
}

function plainApp(): FastifyInstance {
  const app = fastify();
  const me = meOf(nextProfile());
  app.get('/me', () => Promise.resolve(me));
  app.get('/hello', () => Promise.resolve({ hello: me.username }));
  app.post('/login', () => Promise.resolve({ ok: true }));
  app.post('/visit', () => Promise.resolve({ visits: 1 }));
  return app;
}

async function sessionApp(store: FastifySessionOptions['store'] | undefined): Promise<FastifyInstance> {
  const app = fastify();
  await app.register(fastifyCookie);
  await app.register(fastifySession, {
    secret: SECRET,
    saveUninitialized: false,
    rolling: false,
    cookie: { secure: false, maxAge: LIFETIME * 1000 },
    ...(store && { store }),
  });
  const required = (request: FastifyRequest): Profile => {
    const { profile } = request.session;
    if (!profile) throw Object.assign(new Error('Forbidden'), { statusCode: 403 });
    return profile;
  };
  app.get('/me', request => Promise.resolve(meOf(required(request))));
  app.get('/hello', request => Promise.resolve({ hello: request.session.profile?.username ?? 'stranger' }));
  app.post('/login', request => {
    request.session.profile = nextProfile();
    return Promise.resolve({ ok: true });
  });
  app.post('/visit', request => Promise.resolve({ visits: ++required(request).visits }));
  app.post('/slow-visit', async request => {
    const profile = required(request);
    await somethingSlow();
    return { visits: ++profile.visits };
  });
  return app;
}

async function listenerOf(app: FastifyInstance): Promise<Opened['listener']> {
  await app.ready();
  return (request, response) => app.routing(request, response);
}

/** @fastify/session without the writes that it makes by default with every request (`rolling: false`). */
export async function open(store: Store, { redisPort }: Engines): Promise<Opened> {
  if (store === 'none') return { listener: await listenerOf(plainApp()) };
  if (store === 'memory') return { listener: await listenerOf(await sessionApp(undefined)) };
  const client = createClient({ socket: { host: '127.0.0.1', port: redisPort! } });
  await client.connect();
  // Its stores are express-session's, with a type of its own for what is in the session.
  const redis = new RedisStore({ client, prefix: 'fastify:' }) as unknown as NonNullable<
    FastifySessionOptions['store']
  >;
  return { listener: await listenerOf(await sessionApp(redis)), close: () => client.close() };
}
