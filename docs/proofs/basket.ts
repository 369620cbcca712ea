void (async () => {
  const server = createKoaServer({ controllers: [ShopController], development: false }).callback();
  const browser = request.agent(server);
  await browser.get('/basket').expect(403);
  await browser
    .post('/basket')
    .send({ item: 'tea' })
    .expect(200, { basket: ['tea'] });
  await browser
    .post('/basket')
    .send({ item: 'jam' })
    .expect(200, { basket: ['tea', 'jam'] });
  const refused = await browser.post('/login').send({ username: 'ada', password: 'guess' }).expect(401);
  assert.equal(refused.get('Set-Cookie'), undefined);
  const answer = await browser.post('/login').send({ username: 'ada', password: 'sesame' }).expect(200);
  assert.deepEqual(answer.body, { username: 'ada', basket: ['tea', 'jam'] });
  const cookies = answer.get('Set-Cookie') ?? [];
  assert.ok(cookies.some(cookie => /^session=[^;]/.test(cookie)) && cookies.some(cookie => /^visitor=;/.test(cookie)));
  await browser.get('/basket').expect(200, ['tea', 'jam']);
  await browser
    .post('/basket')
    .send({ item: 'bread' })
    .expect(200, { username: 'ada', basket: ['tea', 'jam', 'bread'] });
  console.log('proved');
})();
