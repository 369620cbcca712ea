void (async () => {
  const server = app.callback();
  const id = 'an-old-id';
  oldStore.set(id, { cookie: {}, username: 'ada' });
  const signature = createHmac('sha256', OLD_SECRET).update(id).digest('base64').replace(/=+$/, '');
  const signed = `connect.sid=${encodeURIComponent(`s:${id}.${signature}`)}`;
  for (const wrong of [
    'connect.sid=%',
    `connect.sid=${encodeURIComponent(`s:${id}.${signature.slice(1)}A`)}`,
    'connect.sid=',
  ])
    await request(server).get('/me').set('Cookie', wrong).expect(403);
  const moved = await request(server).get('/me').set('Cookie', signed).expect(200, { username: 'ada' });
  const cookie = (moved.get('Set-Cookie') ?? []).find(value => value.startsWith('session=')) ?? '';
  await request(server)
    .get('/me')
    .set('Cookie', cookie.split(';')[0] ?? '')
    .expect(200, { username: 'ada' });
  await request(server).get('/me').set('Cookie', signed).expect(403);
  console.log('proved');
})();
