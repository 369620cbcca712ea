import { createRequire } from 'node:module';
import { readFileSync } from 'node:fs';
import path from 'node:path';

import { getIronSession } from 'iron-session';

import { workABit } from '../gate.mjs';
import { IDLE_TIMEOUT, SECRET } from '../settings.mjs';

export const name = 'iron-session';
export const version = JSON.parse(
  readFileSync(path.join(path.dirname(createRequire(import.meta.url).resolve('iron-session')), '../package.json')),
).version;
/** The whole session is in its cookie. */
export const stateless = true;

export function makeApp({ gate, cookieName }) {
  return async (req, res) => {
    const session = await getIronSession(req, res, {
      cookieName,
      password: SECRET,
      ttl: IDLE_TIMEOUT,
      cookieOptions: { secure: false },
    });
    const route = `${req.method} ${req.url}`;
    if (route === 'POST /login') {
      Object.assign(session, { user: 'ada', count: 0 });
      await session.save();
      res.end('in');
      return;
    }
    if (!session.user) {
      res.writeHead(401).end();
      return;
    }
    if (route === 'POST /logout') session.destroy();
    else if (route === 'GET /me') {
      // Saving extends the session, as `rolling: true` does elsewhere.
      await session.save();
      res.end(JSON.stringify(session));
      return;
    } else if (route === 'POST /increment') {
      const { count } = session;
      await workABit();
      session.count = count + 1;
      await session.save();
    } else if (route.startsWith('POST /set/')) {
      await workABit();
      session[route.slice('POST /set/'.length)] = true;
      await session.save();
    } else if (route === 'POST /slow') {
      await gate.pass();
      session.note = 'late';
      await session.save();
    }
    res.end('done');
  };
}
