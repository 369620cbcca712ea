void (async () => {
  const server = app.callback();
  const cookie = await signIn(sessions, { username: 'ada', roles: [], visits: 0 });
  const ask = (host: string) =>
    request(server)
      .post('/logout')
      .set({ cookie, origin: 'https://shop.example', 'x-forwarded-host': host, 'x-forwarded-proto': 'https' });
  await ask('other.example').expect(403);
  await ask('shop.example').expect(204);
  console.log('proved');
})();
