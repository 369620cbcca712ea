import { RedisStore } from 'connect-redis';
import express, { type Request } from 'express';
import session from 'express-session';
import { createClient } from 'redis';

import { LIFETIME, meOf, nextProfile, type Profile, SECRET, somethingSlow } from '../profile.js';
import type { Engines, Opened, Store } from '../subject.js';

declare module 'express-session' {
  interface SessionData {
    profile: Profile;
  }
}

/** The routes without a session, on Express. */
function plainApp(): express.Express {
  const app = express();
  const me = meOf(nextProfile());
  app.get('/me', (_req, res) => void res.json(me));
  app.get('/hello', (_req, res) => void res.json({ hello: me.username }));
  app.post('/login', (_req, res) => void res.json({ ok: true }));
  app.post('/visit', (_req, res) => void res.json({ visits: 1 }));
  return app;
}

function sessionApp(store: session.Store | undefined): express.Express {
  const app = express();
  app.use(
    session({
      secret: SECRET,
      resave: false,
      saveUninitialized: false,
      cookie: { maxAge: LIFETIME * 1000 },
      ...(store && { store }),
    }),
  );
  const profileOf = (req: Request) => req.session.profile;
  app.get('/me', (req, res) => {
    const profile = profileOf(req);
    if (profile) res.json(meOf(profile));
    else res.sendStatus(403);
  });
  app.get('/hello', (req, res) => void res.json({ hello: profileOf(req)?.username ?? 'stranger' }));
  app.post('/login', (req, res) => {
    req.session.profile = nextProfile();
    res.json({ ok: true });
  });
  app.post('/visit', (req, res) => {
    const profile = profileOf(req);
    if (profile) res.json({ visits: ++profile.visits });
    else res.sendStatus(403);
  });
  app.post('/slow-visit', async (req, res) => {
    const profile = profileOf(req);
    await somethingSlow();
    if (profile) res.json({ visits: ++profile.visits });
    else res.sendStatus(403);
  });
  return app;
}

/** express-session as in its documentation, with its own MemoryStore or with connect-redis. */
export async function open(store: Store, { redisPort }: Engines): Promise<Opened> {
  if (store === 'none') return { listener: plainApp() };
  if (store === 'memory') return { listener: sessionApp(undefined) };
  const client = createClient({ socket: { host: '127.0.0.1', port: redisPort! } });
  await client.connect();
  return { listener: sessionApp(new RedisStore({ client })), close: () => client.close() };
}
