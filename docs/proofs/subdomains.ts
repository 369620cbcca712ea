void (async () => {
  @Service()
  @JsonController()
  class Proof {
    @Post('/act')
    act(@SessionData { username }: UserSession) {
      return { username };
    }
  }
  Container.set(SessionCookie, api);
  const server = createKoaServer({ controllers: [Proof], development: false }).callback();
  const cookie = await signIn(api, { username: 'ada', roles: [], visits: 0 });
  const ask = (origin: string) =>
    request(server).post('/act').set({ cookie, host: 'api.example.com', origin, 'sec-fetch-site': 'same-site' });
  await ask('https://app.example.com').expect(200, { username: 'ada' });
  await ask('https://other.example.com').expect(403);
  console.log('proved');
})();
