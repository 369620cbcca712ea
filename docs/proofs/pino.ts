void (async () => {
  const server = createKoaServer({ controllers: [OrderController], development: false }).callback();
  const ordered = async (username: string) => {
    const cookie = await signIn(sessions, { username, roles: [], visits: 0 });
    await request(server).post('/orders').set('Cookie', cookie).expect(200);
    const [{ id = '' } = {}] = await sessions.listSessions(username);
    return id;
  };
  const ids = await Promise.all(['ada', 'grace'].map(ordered));
  log.info('of no request');
  const lines = written.map(({ msg, session, principal }) => ({ msg, session, principal }));
  const byName = (a: { principal: unknown }, b: { principal: unknown }) =>
    String(a.principal) < String(b.principal) ? -1 : 1;
  assert.deepEqual(lines.sort(byName), [
    { msg: 'ordered', session: ids[0], principal: 'ada' },
    { msg: 'ordered', session: ids[1], principal: 'grace' },
    { msg: 'of no request', session: undefined, principal: undefined },
  ]);
  console.log('proved');
})();
