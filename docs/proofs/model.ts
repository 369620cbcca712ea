import { strict as assert } from 'node:assert';
import type { IncomingMessage } from 'node:http';
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
  const { data } = (await sessions.authenticate({
    headers: { cookie: await signIn(sessions, user) },
  } as IncomingMessage))!;
  assert.ok(!('passwordHash' in data));
  console.log('proved');
})();
