void (async () => {
  const server = createKoaServer({ controllers: [AccountController] }).callback();
  const logIn = (query: string, status: number) =>
    request(server)
      .post(`/login${query}`)
      .set('User-Agent', 'phone')
      .send({ username: 'ada', password: 'sesame' })
      .expect(status);
  const cookieIn = (answer: request.Response): string => String(answer.headers['set-cookie']).split(';')[0]!;
  const [first] = [await logIn('', 200), await logIn('', 200)];
  const { body, headers } = await logIn('', 403);
  assert.deepEqual([body.code, body.limit, headers['set-cookie']], ['ERR_SESSION_LIMIT', 2, undefined]);
  assert.deepEqual(
    body.devices.map(({ userAgent }: { userAgent: string }) => userAgent),
    ['phone', 'phone'],
  );
  await logIn('?instead=nobody', 403);
  const again = { username: 'ada', password: 'sesame' };
  const own = await request(server).post('/login').set('Cookie', cookieIn(first!)).send(again).expect(200);
  assert.notEqual(cookieIn(own), cookieIn(first!));
  await logIn(`?instead=${body.devices[0].id}`, 200);
  assert.equal((await Container.get(SessionCookie).listSessions('ada')).length, 2);
  console.log('proved');
})();
