import { once } from 'node:events';
import Koa from 'koa';
import { useKoaServer } from 'routing-controllers';

void (async () => {
  const koa = new Koa();
  let release = () => {};
  const arrived = new Promise<void>(resolve => {
    koa.use(async (_, next) => {
      const released = new Promise<void>(done => (release = done));
      resolve();
      await released;
      await next();
    });
  });
  const server = useKoaServer(koa, { controllers: [AccountController] }).listen(0);
  await once(server, 'listening');
  stopOnSignal(server);

  const cookie = await signIn(sessions, { username: 'ada', roles: [], visits: 0 });
  const answer = request(server)
    .get('/me')
    .set('Cookie', cookie)
    .then(({ body }) => body);
  await arrived;
  const closed = once(server, 'close');
  process.kill(process.pid, 'SIGTERM');
  while (server.listening) await new Promise(resolve => setImmediate(resolve));
  release();
  assert.deepEqual(await answer, { username: 'ada' });
  await closed;
  // A backend in memory that is closed has forgotten everybody.
  while ((await sessions.listSessions('ada')).length > 0) await new Promise(resolve => setImmediate(resolve));
  console.log('proved');
})();
