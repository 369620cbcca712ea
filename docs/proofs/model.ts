import { strict as assert } from 'node:assert';
import Koa from 'koa';
import { InMemoryBackend, SessionCookie } from 'routing-controllers-sessions';
import { signIn } from 'routing-controllers-sessions/testing';
import request from 'supertest';

void (async () => {
  const sessions = new SessionCookie({
    secretKey: 'for the examples: 32 bytes at least',
    dataModel: UserSession,
    backend: new InMemoryBackend(),
  });
  const order = new Date('2030-01-01');
  const given = { username: 'ada', lastOrder: order, address: { city: 'London' } };
  const cookie = await signIn(sessions, given);
  const app = new Koa();
  app.use(sessions.requireSession());
  app.use(ctx => {
    const { data } = sessions.current()!;
    assert.ok(data instanceof UserSession && data.address instanceof Address && !data.isAdmin);
    assert.deepEqual([data.username, data.roles, data.lastOrder], ['ada', [], order]);
    ctx.body = 'ok';
  });
  await request(app.callback()).get('/').set('Cookie', cookie).expect(200);
  for (const bad of [new Map(), () => 1, NaN, 1n]) {
    const data = { username: 'ada', preferences: { bad } };
    await assert.rejects(signIn(sessions, data), { code: 'ERR_SESSION_DATA', properties: ['preferences.bad'] });
  }
  const large = { username: 'a'.repeat(70_000) };
  await assert.rejects(signIn(sessions, large), { code: 'ERR_SESSION_DATA', properties: ['username'] });
  const user = { username: 'ada', passwordHash: 'x' };
  const other = new Koa();
  other.use(sessions.requireSession());
  other.use(ctx => void (ctx.body = sessions.current()?.data));
  await request(other.callback())
    .get('/')
    .set('Cookie', await signIn(sessions, user))
    .expect(200, { username: 'ada', roles: [] });
  console.log('proved');
})();
