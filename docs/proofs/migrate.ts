import { strict as assert } from 'node:assert';
import Koa from 'koa';
import { InMemoryBackend, SessionCookie } from 'routing-controllers-sessions';
import { signIn } from 'routing-controllers-sessions/testing';
import request from 'supertest';

@SessionData
class EarlierSession {
  @IsString() username!: string;
  @IsString() role!: string;
}

void (async () => {
  const shared = { secretKey: 'for the examples: 32 bytes at least', backend: new InMemoryBackend() };
  const earlier = new SessionCookie({ ...shared, dataModel: EarlierSession });
  const cookie = await signIn(earlier, { username: 'ada', role: 'admin' });
  const sessions = new SessionCookie({ ...shared, dataModel: UserSession });
  const app = new Koa();
  app.use(sessions.requireSession());
  app.use(ctx => void (ctx.body = sessions.current()?.data));
  const answer = await request(app.callback()).get('/').set('Cookie', cookie).expect(200);
  assert.deepEqual(answer.body, { username: 'ada', roles: ['admin'] });
  console.log('proved');
})();
