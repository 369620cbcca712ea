import { once } from 'node:events';
import { get, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';

const readers = new Set<(item: string) => void>();
const news = {
  subscribe(reader: (item: string) => void): () => void {
    readers.add(reader);
    return () => void readers.delete(reader);
  },
};

void (async () => {
  const app = createKoaServer({ controllers: [NewsController], development: false });
  const left = new Promise(resolve => app.on('error', resolve));
  const server = app.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const cookie = await signIn(sessions, { username: 'ada', roles: [], visits: 0 });
  const open = async () => {
    const { port } = server.address() as AddressInfo;
    const asked = get({ port, host: '127.0.0.1', path: '/news', headers: { cookie }, agent: false });
    const [response] = (await once(asked, 'response')) as [IncomingMessage];
    return { asked, response };
  };

  const { asked } = await open();
  asked.destroy();
  assert.match(String(await left), /Premature close/);
  assert.equal(readers.size, 0);

  const { response } = await open();
  let text = '';
  response.setEncoding('utf8').on('data', chunk => (text += String(chunk)));
  for (const read of readers) read('sunny');
  const ended = once(response, 'end');
  await sessions.endSessions('ada');
  await ended;
  assert.equal(text, ':\n\ndata: "sunny"\n\nevent: session-over\ndata: {}\n\n');
  assert.equal(response.headers['cache-control'], 'no-store');
  assert.equal((await open()).response.statusCode, 403);
  server.close();
  server.closeAllConnections();
  await sessions.close();
  console.log('proved');
})();
