void (async () => {
  Date.now = () => now;
  const service = new SessionCookie({ secretKey, dataModel: RememberedSession, backend: new InMemoryBackend() });
  Container.set(SessionCookie, service);
  const server = createKoaServer({ controllers: [AccountController] }).callback();
  const remembered = await signIn(service, { username: 'ada', remembered: true });
  const passing = await signIn(service, { username: 'bob', remembered: false });
  const answers = (cookie: string) => request(server).get('/account').set('Cookie', cookie);
  now += TWELVE_HOURS - 1000;
  await answers(passing).expect(200);
  now += 1000;
  await answers(passing).expect(403);
  await answers(remembered).expect(200);
  console.log('proved');
})();
