void (async () => {
  await signIn(sessions, { username: 'ada', roles: [], visits: 0 });
  assert.deepEqual(slow, []);
  const { listByPrincipal } = InMemoryBackend.prototype;
  InMemoryBackend.prototype.listByPrincipal = async function (...given) {
    await new Promise(resolve => setTimeout(resolve, 150));
    return listByPrincipal.apply(this, given);
  };
  await sessions.listSessions('ada');
  assert.equal(slow.length, 1);
  assert.match(slow[0] ?? '', /^listByPrincipal \(done\) took 0\.\d+ s$/);
  console.log('proved');
})();
