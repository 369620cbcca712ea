import { createRequire } from 'node:module';
import { promisify } from 'node:util';

import express from 'express';
import session from 'express-session';

import { workABit } from '../gate.mjs';
import { IDLE_TIMEOUT, SECRET } from '../settings.mjs';

export const name = 'express-session';
export const version = createRequire(import.meta.url)('express-session/package.json').version;

class ExpressStore extends session.Store {
  constructor(store) {
    super();
    this.get = (id, done) => store.get(id).then(value => done(null, value), done);
    this.set = (id, value, done) => store.set(id, value).then(() => done?.(null), done);
    this.destroy = (id, done) => store.delete(id).then(() => done?.(null), done);
    this.touch = (id, value, done) => this.set(id, value, done);
  }
}

export function makeApp({ store, gate, cookieName }) {
  const app = express();
  app.use(
    session({
      name: cookieName,
      secret: SECRET,
      store: new ExpressStore(store),
      resave: false,
      saveUninitialized: false,
      rolling: true,
      cookie: { maxAge: IDLE_TIMEOUT * 1000, sameSite: 'lax' },
    }),
  );
  const loggedIn = (req, res, next) => (req.session.user ? next() : res.status(401).end());
  app.post('/login', async (req, res) => {
    await promisify(req.session.regenerate).call(req.session);
    Object.assign(req.session, { user: 'ada', count: 0 });
    res.end('in');
  });
  app.post('/logout', loggedIn, async (req, res) => {
    await promisify(req.session.destroy).call(req.session);
    res.end('out');
  });
  app.get('/me', loggedIn, (req, res) => res.json(req.session));
  app.post('/increment', loggedIn, async (req, res) => {
    const { count } = req.session;
    await workABit();
    req.session.count = count + 1;
    res.end();
  });
  app.post('/set/:field', loggedIn, async (req, res) => {
    await workABit();
    req.session[req.params.field] = true;
    res.end();
  });
  app.post('/slow', loggedIn, async (req, res) => {
    await gate.pass();
    req.session.note = 'late';
    res.end();
  });
  app.use((error, req, res, next) => {
    void next;
    res.status(error.status ?? 500).end();
  });
  return app;
}
