import { createRequire } from 'node:module';

import cookie from '@fastify/cookie';
import session from '@fastify/session';
import Fastify from 'fastify';

import { workABit } from '../gate.mjs';
import { IDLE_TIMEOUT, SECRET } from '../settings.mjs';

export const name = '@fastify/session';
export const version = createRequire(import.meta.url)('@fastify/session/package.json').version;

export async function makeApp({ store, gate, cookieName }) {
  const app = Fastify();
  app.register(cookie);
  app.register(session, {
    cookieName,
    secret: SECRET,
    saveUninitialized: false,
    rolling: true,
    cookie: { maxAge: IDLE_TIMEOUT * 1000, secure: false, sameSite: 'lax' },
    store: {
      get: (id, done) => store.get(id).then(value => done(null, value), done),
      set: (id, value, done) => store.set(id, value).then(() => done(null), done),
      destroy: (id, done) => store.delete(id).then(() => done(null), done),
    },
  });
  const loggedIn = {
    preHandler: async (request, reply) => (request.session.user ? undefined : reply.code(401).send()),
  };
  app.post('/login', async request => {
    await request.session.regenerate();
    Object.assign(request.session, { user: 'ada', count: 0 });
    return 'in';
  });
  app.post('/logout', loggedIn, async request => {
    await request.session.destroy();
    return 'out';
  });
  app.get('/me', loggedIn, async request => request.session);
  app.post('/increment', loggedIn, async request => {
    const { count } = request.session;
    await workABit();
    request.session.count = count + 1;
    return 'done';
  });
  app.post('/set/:field', loggedIn, async request => {
    await workABit();
    request.session[request.params.field] = true;
    return 'done';
  });
  app.post('/slow', loggedIn, async request => {
    await gate.pass();
    request.session.note = 'late';
    return 'done';
  });
  await app.ready();
  return (req, res) => app.routing(req, res);
}
