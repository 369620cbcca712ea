/*
 * What a user of the package writes, compiled and run outside of this repository against the packed tarball, once as
 * CommonJS and once as an ES module. scripts/check-package.mjs does so.
 */
import 'reflect-metadata';

import { strict as assert } from 'node:assert';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';

import { IsString } from 'class-validator';
import type Koa from 'koa';
import type { Context } from 'koa';
import { createKoaServer, Ctx, Get, JsonController, Post, QueryParam, useContainer } from 'routing-controllers';
import {
  CurrentSession,
  InMemoryBackend,
  Principal,
  RequireSession,
  type Session,
  SessionBackend,
  SessionCookie,
  SessionData,
} from 'routing-controllers-sessions';
import { instrumentSessions } from 'routing-controllers-sessions/telemetry';
import { signIn } from 'routing-controllers-sessions/testing';
import { Container, Service } from 'typedi';

@SessionData
class UserSession {
  @IsString() @Principal() username!: string;
}

@Service()
@JsonController()
class AuthController {
  constructor(private readonly sessions: SessionCookie<UserSession>) {}

  @Get('/secure')
  @RequireSession()
  secure(@SessionData user: UserSession) {
    return { message: 'You are secure', user };
  }

  @Post('/get_session')
  @RequireSession({ autoError: false })
  async login(@QueryParam('username', { required: true }) username: string, @Ctx() ctx: Context) {
    const { data } = await this.sessions.createSession({ username }, ctx);
    return { message: 'You now have a session', user: data };
  }

  @Post('/leave_session')
  async logout(@CurrentSession() session: Session<UserSession>) {
    await session.end();
    return { message: "You now don't have a session", user: session.data };
  }
}

async function main(): Promise<void> {
  const sessions = new SessionCookie({
    name: 'session',
    secretKey: 'a secret for this one run: 32 bytes',
    dataModel: UserSession,
  });
  useContainer(Container);
  Container.set(SessionBackend, new InMemoryBackend());
  Container.set(SessionCookie, sessions);
  const stop = instrumentSessions(sessions);
  await sessions.health();
  const app: Koa = createKoaServer({ controllers: [AuthController] });
  const server = app.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const url = `http://127.0.0.1:${String((server.address() as AddressInfo).port)}`;

  assert.equal((await fetch(`${url}/secure`)).status, 403);
  const login = await fetch(`${url}/get_session?username=ada`, { method: 'POST' });
  assert.deepEqual(await login.json(), { message: 'You now have a session', user: { username: 'ada' } });
  const cookie = login.headers.get('set-cookie')?.split(';')[0] ?? '';
  const secure = await fetch(`${url}/secure`, { headers: { cookie } });
  assert.deepEqual(await secure.json(), { message: 'You are secure', user: { username: 'ada' } });
  const logout = await fetch(`${url}/leave_session`, { method: 'POST', headers: { cookie } });
  assert.equal(logout.status, 200);
  assert.equal((await fetch(`${url}/secure`, { headers: { cookie } })).status, 403);
  assert.equal(
    (await fetch(`${url}/secure`, { headers: { cookie: await signIn(sessions, { username: 'bob' }) } })).status,
    200,
  );

  stop();
  server.close();
  server.closeAllConnections();
  await sessions.close();
}

/** Settles when everything was tried. */
export const done = main();
