void (async () => {
  await signIn(sessions, { username: 'ada', roles: [], visits: 0 });
  assert.deepEqual(
    lines.map(({ level, event, principal }) => ({ level, event, principal })),
    [{ level: 'info', event: 'session created', principal: 'ada' }],
  );
  console.log('proved');
})();
