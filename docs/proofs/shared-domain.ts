void (async () => {
  @Service()
  @JsonController()
  class Proof {
    @Post('/login')
    async login(@Ctx() ctx: Context) {
      return (await shared.createSession({ username: 'ada', roles: [], visits: 0 }, ctx)).data;
    }
  }
  const server = createKoaServer({ controllers: [Proof], development: false }).callback();
  const answer = await request(server).post('/login').set('Host', 'shop.example.com').expect(200);
  const [cookie = ''] = answer.get('Set-Cookie') ?? [];
  assert.match(cookie, /; Domain=example\.com/);
  assert.doesNotMatch(cookie, /^__Host-/);
  console.log('proved');
})();
