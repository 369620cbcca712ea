import { strict as assert } from 'node:assert';
import request from 'supertest';

void (async () => {
  assert.equal(Reflect.getMetadata('design:type', UserSession.prototype, 'username'), undefined);
  const browser = request.agent(app.callback());
  await browser.post('/login').send({ username: 5 }).expect(400);
  await browser.post('/login').send({ username: 'ada' }).expect(200);
  await browser.get('/me').expect(200, { username: 'ada', born: 1815 });
  console.log('proved');
})();
