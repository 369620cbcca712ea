import { strict as assert } from 'node:assert';
import Koa from 'koa';
import { InMemoryBackend, SessionCookie } from 'routing-controllers-sessions';
import { signIn } from 'routing-controllers-sessions/testing';
import request from 'supertest';

@SessionData({ version: 1 })
class FirstSession {
  @IsString() username!: string;
  @IsString() role!: string;
}

@SessionData({ version: 2 })
class SecondSession {
  @IsString() username!: string;
  @IsArray() roles!: string[];
}

void (async () => {
  const shared = { secretKey: 'for the examples: 32 bytes at least', backend: new InMemoryBackend() };
  const sessions = new SessionCookie({ ...shared, dataModel: UserSession });
  const app = new Koa();
  app.use(sessions.requireSession());
  app.use(ctx => void (ctx.body = sessions.current()?.data));
  const cookies = [
    await signIn(new SessionCookie({ ...shared, dataModel: FirstSession }), { username: 'ada', role: 'admin' }),
    await signIn(new SessionCookie({ ...shared, dataModel: SecondSession }), { username: 'ada', roles: ['admin'] }),
  ];
  for (const cookie of cookies) {
    const answer = await request(app.callback()).get('/').set('Cookie', cookie).expect(200);
    assert.deepEqual(answer.body, { username: 'ada', roles: ['admin'], theme: 'light' });
  }
  console.log('proved');
})();
