void (async () => {
  const server = createKoaServer({ controllers: [AccountController] }).callback();
  const logIn = async (query: string): Promise<string> => {
    const credentials = { username: 'ada', password: 'sesame' };
    const answer = await request(server).post(`/login${query}`).send(credentials).expect(200);
    return String(answer.headers['set-cookie']);
  };
  const [remembered, passing] = [await logIn('?remember=true'), await logIn('')];
  assert.match(remembered, /Max-Age=1209600/);
  assert.doesNotMatch(passing, /Max-Age/);
  const answers = (cookie: string) => request(server).get('/account').set('Cookie', cookie.split(';')[0]!);
  for (let hour = 0; hour < 24; hour++) {
    now += 1799 * 1000;
    await answers(passing).expect(200);
    await answers(remembered).expect(200);
  }
  now += TWELVE_HOURS * 1000 - 24 * 1799 * 1000;
  await answers(passing).expect(403);
  await answers(remembered).expect(200);
  await answers(await logIn('')).expect(200);
  const idle = await logIn('');
  now += 1800 * 1000;
  await answers(idle).expect(403);
  console.log('proved');
})();
