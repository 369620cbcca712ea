void (async () => {
  koa.silent = true;
  await request(koa.callback()).get('/ready').expect(204);
  await request(koa.callback()).get('/other').expect(404);
  InMemoryBackend.prototype.read = () => Promise.reject(new Error('away'));
  process.removeAllListeners('warning');
  const { headers } = await request(koa.callback()).get('/ready').expect(503);
  assert.equal(headers['retry-after'], '1');
  console.log('proved');
})();
