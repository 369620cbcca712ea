void (async () => {
  const server = createKoaServer({ controllers: [OrdersController], development: false }).callback();
  const cookie = await signIn(sessions, { username: 'ada', roles: [], visits: 0 });
  const [secret] = cookie.split('.').slice(1);
  await request(server).delete('/orders/7').set('Cookie', cookie).expect(204);
  await sessions.endSessions('ada');
  assert.deepEqual(
    written.map(({ what, who }) => [what, who]),
    [
      ['logged in', 'ada'],
      ['cancelled order 7', 'ada'],
      ['session ended: revoked', 'ada'],
    ],
  );
  assert.equal(new Set(written.map(({ session }) => session)).size, 1);
  assert.ok(secret && !JSON.stringify(written).includes(secret));
  console.log('proved');
})();
