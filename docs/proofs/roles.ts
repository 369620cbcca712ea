void (async () => {
  const as = (username: string, ...roles: string[]) => signIn(sessions, { username, roles, visits: 0 });
  const server = app.callback();
  await request(server)
    .get('/report')
    .set('Cookie', await as('grace', 'admin'))
    .expect(200, { for: 'grace' });
  await request(server)
    .get('/report')
    .set('Cookie', await as('ada'))
    .expect(403);
  await request(server).get('/report').expect(403);
  await request(server)
    .get('/news')
    .set('Cookie', await as('ada'))
    .expect(200, []);
  await request(server).get('/news').expect(401);
  console.log('proved');
})();
