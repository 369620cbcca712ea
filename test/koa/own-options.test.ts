import 'reflect-metadata';

import Koa from 'koa';
import { createKoaServer, Get, JsonController, useContainer } from 'routing-controllers';
import { InMemoryBackend, RequireSession, SessionCookie, SessionData } from 'routing-controllers-sessions';
import request from 'supertest';
import { Container } from 'typedi';

import { SECRET } from '../support/app.js';

@SessionData
class User {
  username = 'ada';
}

const polluted = Object.prototype as Record<string, unknown>;

/** Each would open a guard, or break it, if it were taken for an option. */
const POLLUTIONS: [string, unknown][] = [
  ['autoError', false],
  ['cookie', class extends SessionCookie<User> {}],
  ['check', () => true],
  ['maxAuthAge', -1],
  ['authoritative', true],
];

afterEach(() => {
  for (const [name] of POLLUTIONS) delete polluted[name];
});

describe.each(POLLUTIONS)('Object.prototype.%s', (name, value) => {
  const pollute = () => {
    Object.defineProperty(Object.prototype, name, { value, configurable: true, enumerable: false });
  };
  const sessions = () => new SessionCookie({ secretKey: SECRET, dataModel: User, backend: new InMemoryBackend() });

  test.each(['before', 'after'])('changes no middleware that was made %s', async when => {
    const app = new Koa();
    app.silent = true;
    const cookie = sessions();
    if (when === 'before') pollute();
    app.use(cookie.requireSession());
    if (when === 'after') pollute();
    await request(app.callback()).get('/').expect(403);
  });

  test.each(['before', 'after'])('changes no decorated route of a server that was made %s', async when => {
    @JsonController()
    class Guarded {
      @Get('/')
      @RequireSession()
      show() {
        return {};
      }
    }
    Container.set(SessionCookie, sessions());
    Container.set({ id: Guarded, type: Guarded });
    useContainer(Container);
    if (when === 'before') pollute();
    const app = createKoaServer({ controllers: [Guarded] }) as Koa;
    if (when === 'after') pollute();
    await request(app.callback()).get('/').expect(403);
  });
});
