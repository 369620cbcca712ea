import 'reflect-metadata';

import { IsString } from 'class-validator';
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
import request from 'supertest';
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

describe('the example of the README', () => {
  const secretKey = '0123456789abcdef0123456789abcdef';
  let server: ReturnType<typeof request.agent>;

  beforeAll(() => {
    useContainer(Container);
    Container.set(SessionBackend, new InMemoryBackend());
    Container.set(SessionCookie, new SessionCookie({ name: 'session', secretKey, dataModel: UserSession }));
    server = request.agent(createKoaServer({ controllers: [AuthController] }).callback());
  });

  test('logs in, reads a protected route, logs out, and is refused from then on', async () => {
    const refused = await server.get('/secure');
    expect(refused.status).toBe(403);
    expect(refused.body).toMatchObject({
      name: 'SessionRequiredError',
      message: 'Not authenticated',
      code: 'ERR_SESSION_REQUIRED',
    });

    const loggedIn = await server.post('/get_session?username=ada').expect(200);
    expect(loggedIn.body).toEqual({ message: 'You now have a session', user: { username: 'ada' } });
    expect(loggedIn.headers['set-cookie']).toEqual([
      expect.stringMatching(
        /^session=[\w-]{22}\.[\w-]{43}\.[\w-]{43}; Path=\/; HttpOnly; SameSite=Lax; Max-Age=1209600$/,
      ),
    ]);
    expect(loggedIn.headers['cache-control']).toBe('no-store');

    const secure = await server.get('/secure').expect(200);
    expect(secure.body).toEqual({ message: 'You are secure', user: { username: 'ada' } });
    expect(secure.headers['set-cookie']).toBeUndefined();
    expect(secure.headers['vary']).toBe('Cookie');

    const loggedOut = await server.post('/leave_session').expect(200);
    expect(loggedOut.body).toEqual({ message: "You now don't have a session", user: { username: 'ada' } });
    await server.get('/secure').expect(403);
  });

  test('a missing username is a 400 and makes no session', async () => {
    const answer = await server.post('/get_session').expect(400);
    expect(answer.headers['set-cookie']).toBeUndefined();
  });
});
