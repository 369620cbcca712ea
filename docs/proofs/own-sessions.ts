void (async () => {
  const app = createKoaServer({ controllers: [MySessions], development: false }).callback();
  const logIn = () => signIn(sessions, { username: 'ada', roles: [], visits: 0 });
  const [one, other] = [await logIn(), await logIn()];
  const listed = await request(app).get('/account/sessions').set('Cookie', one).expect(200);
  assert.equal(listed.body.length, 2);
  const { body } = await request(app).get('/account/sessions/current').set('Cookie', other).expect(200);
  await request(app).delete(`/account/sessions/${body.id}`).set('Cookie', one).expect(204);
  await request(app).delete('/account/sessions/none').set('Cookie', one).expect(404);
  await request(app).delete('/account/sessions').set('Cookie', one).expect(200, { ended: 0 });
  now += 301_000;
  await request(app).delete('/account/sessions').set('Cookie', one).expect(403);
  console.log('proved');
})();
