void (async () => {
  const server = createKoaServer({ controllers: [AdminController] }).callback();
  const admin = await signIn(Container.get(AdminCookie), { admin: 'grace' });
  await request(server).get('/admin/me').set('Cookie', admin).expect(200, { admin: 'grace', sessions: 'its own' });
  const user = await signIn(sessions, { username: 'ada', roles: [], visits: 0 });
  await request(server).get('/admin/me').set('Cookie', user).expect(403);
  await request(server).get('/admin/me').set('Cookie', user.replaceAll('session=', 'admin=')).expect(403);
  console.log('proved');
})();
