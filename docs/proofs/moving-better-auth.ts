void (async () => {
  @Service()
  @JsonController()
  class Proof {
    @Get('/me')
    me(@SessionData user: UserSession) {
      return user;
    }
  }
  const sessions = new SessionCookie({
    secretKey: 'for the examples: 32 bytes at least',
    dataModel: UserSession,
    backend: new InMemoryBackend(),
  });
  useContainer(Container);
  Container.set(SessionCookie, sessions);
  const server = createKoaServer({ controllers: [SessionController, Proof], development: false }).callback();
  const cookie = 'better-auth.session_token=of-ada';
  const answer = await request(server).post('/session').set('Cookie', cookie).expect(200);
  const ours = answer.get('Set-Cookie')?.[0]?.split(';')[0] ?? '';
  await request(server).get('/me').set('Cookie', ours).expect(200, { userId: 'u1', email: 'ada@example.com' });
  await request(server).post('/session').set('Cookie', cookie).expect(401);
  console.log('proved');
})();
