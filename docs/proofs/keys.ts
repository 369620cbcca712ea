void (async () => {
  const cookie = await signIn(new SessionCookie({ secretKey: oldSecret, dataModel: UserSession }), { username: 'ada' });
  const app = new Koa();
  app.use(sessions.requireSession());
  app.use(ctx => void (ctx.body = 'in'));
  const answer = await request(app.callback()).get('/').set('Cookie', cookie).expect(200);
  const [reissued = ''] = answer.get('Set-Cookie') ?? [];
  assert.match(reissued, /^session=/);
  const again = new SessionCookie({ secretKey: newSecret, dataModel: UserSession });
  const later = new Koa();
  later.silent = true;
  later.use(again.requireSession());
  later.use(ctx => void (ctx.body = 'in'));
  await request(later.callback()).get('/').set('Cookie', reissued).expect(200);
  await request(later.callback()).get('/').set('Cookie', cookie).expect(403);
  console.log('proved');
})();
