void (async () => {
  const server = app.callback();
  const moved = await request(server).get('/me').set('X-Old-Session', 'ada').expect(200, { username: 'ada' });
  const [cookie = ''] = moved.get('Set-Cookie') ?? [];
  await request(server)
    .get('/me')
    .set('Cookie', cookie.split(';')[0] ?? '')
    .expect(200, { username: 'ada' });
  await request(server).get('/me').expect(403);
  console.log('proved');
})();
