void (async () => {
  const server = createKoaServer({ controllers: [PasswordController], development: false }).callback();
  const cookie = await signIn(sessions, { username: 'ada', roles: ['reader'], visits: 3 });
  const change = (header: string) => request(server).post('/password').set('Cookie', header).send({ password: 'new' });
  now += 300_000;
  await change(cookie).expect(200, { ended: 0 });
  now += 1000;
  const refused = await change(cookie).expect(403);
  assert.equal(refused.body.code, 'ERR_SESSION_NOT_FRESH');
  const confirm = (password: string) => request(server).post('/confirm').set('Cookie', cookie).send({ password });
  await confirm('guess').expect(401);
  const confirmed = await confirm('sesame').expect(200);
  const [fresh = ''] = confirmed.get('Set-Cookie') ?? [];
  await change(fresh.split(';')[0] ?? '').expect(200);
  await change(cookie).expect(403);

  const other = await signIn(sessions, { username: 'bob', roles: [], visits: 0 });
  const { verify } = users;
  users.verify = async (username, password) => {
    await sessions.endSessions('bob');
    return verify(username, password);
  };
  const late = await request(server).post('/confirm').set('Cookie', other).send({ password: 'sesame' }).expect(409);
  assert.equal(late.body.code, 'ERR_SESSION_GONE');
  assert.deepEqual(await sessions.listSessions('bob'), []);
  console.log('proved');
})();
