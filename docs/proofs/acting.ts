void (async () => {
  const server = createKoaServer({
    controllers: [ActingController, AccountController, MySessions],
    development: false,
  });
  const app = server.callback();
  const own = await signIn(customers, { username: 'ada' });
  const admin = await signIn(Container.get(AdminCookie), { admin: 'grace' });
  await request(app).post('/acting/ada').expect(403);
  await request(app).post('/acting/ada').set('Cookie', own).expect(403);
  const begun = await request(app).post('/acting/ada').set('Cookie', admin).expect(200);
  const [header = ''] = begun.get('Set-Cookie') ?? [];
  assert.doesNotMatch(header, /Max-Age|Expires/);
  assert.ok(Date.parse(begun.body.expiresAt) <= Date.now() + 300_000);
  const acting = header.split(';')[0] ?? '';
  await request(app).get('/account').set('Cookie', acting).expect(200, { username: 'ada', actor: 'grace' });
  await request(app).get('/account').set('Cookie', own).expect(200, { username: 'ada' });
  const change = (cookie: string) =>
    request(app).post('/account/password').set('Cookie', cookie).send({ password: 'new' });
  await change(acting).expect(403);
  await change(own).expect(200);
  await request(app).delete('/account/sessions').set('Cookie', acting).expect(403);
  const listed = await request(app).get('/account/sessions').set('Cookie', own).expect(200);
  assert.equal(listed.body.length, 2);
  await request(app).delete('/acting').set('Cookie', acting).expect(204);
  await request(app).get('/account').set('Cookie', acting).expect(403);
  await request(app).get('/account').set('Cookie', own).expect(200);
  await request(app).post('/acting/ada').set('Cookie', admin).expect(200);
  assert.deepEqual(
    written.slice(0, 2).map(({ what, who, as }) => [what, who, as]),
    [
      ['begins to act', 'grace', 'ada'],
      ['acts no more', 'grace', 'ada'],
    ],
  );
  console.log('proved');
})();
