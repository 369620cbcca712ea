void (async () => {
  @Service()
  @JsonController()
  class Proof {
    @Get('/visit')
    async visit(@CurrentSession() session: Session<UserSession>, @QueryParam('gone') gone: boolean) {
      if (gone) await sessions.endSessions(session.principal ?? '');
      return { visits: (await visit(session)) ?? 'gone' };
    }
  }
  const app = createKoaServer({ controllers: [Proof] }).callback();
  const cookie = await signIn(sessions, { username: 'ada', roles: [], visits: 0 });
  assert.deepEqual((await request(app).get('/visit').set('Cookie', cookie)).body, { visits: 1 });
  assert.deepEqual((await request(app).get('/visit?gone=true').set('Cookie', cookie)).body, { visits: 'gone' });
  console.log('proved');
})();
