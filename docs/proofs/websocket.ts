import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { WebSocket } from 'ws';

void (async () => {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  serveSockets(server);
  const url = `ws://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const cookie = await signIn(sessions, { username: 'ada', roles: [], visits: 0 });
  const open = (headers: Record<string, string>) => new WebSocket(url, { headers });

  const client = open({ cookie });
  const [greeting] = await once(client, 'message');
  assert.equal(String(greeting), 'hello, ada');
  const closed = once(client, 'close');
  for (const headers of [{}, { cookie, origin: 'https://evil.example' }]) {
    const [error] = await once(open(headers), 'error');
    assert.match(String(error), /403/);
  }
  now += 3600_000;
  client.send('I am here');
  client.ping();
  await once(client, 'pong');
  assert.equal((await sessions.listSessions('ada'))[0]!.lastSeenAt.getTime(), now);
  await sessions.endSessions('ada');
  assert.equal((await closed)[0], 4401);
  server.close();
  await sessions.close();
  console.log('proved');
})();
