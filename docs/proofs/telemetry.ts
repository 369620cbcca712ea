void (async () => {
  const { hasSubscribers } = await import('node:diagnostics_channel');
  const channels = ['load', 'backend', 'write', 'create', 'rotate', 'end', 'reject', 'conflict', 'unavailable'];
  const heard = () => channels.filter(channel => hasSubscribers(`routing-controllers-sessions:${channel}`));
  assert.deepEqual(heard(), channels);
  await signIn(sessions, { username: 'ada', roles: [], visits: 0 });
  stop();
  assert.deepEqual(heard(), []);
  console.log('proved');
})();
