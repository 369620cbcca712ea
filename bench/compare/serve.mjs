// The process of one peer: its application is served at /, a second application whose cookie has another name at /admin/,
// and the controls of the scenarios at /_control/. The process sends its port to its parent.
import { advance } from './clock.mjs';
import { makeGate } from './gate.mjs';
import { Store } from './store.mjs';
import { createServer } from 'node:http';

const peer = await import(`./peers/${process.argv[2]}.mjs`);
const store = new Store();
const gate = makeGate();
const user = await peer.makeApp({ store, gate, cookieName: 'session' });
const admin = await peer.makeApp({ store, gate, cookieName: 'admin' });

const controls = {
  advance: value => advance(Number(value)),
  failing: value => void (store.failing = value),
  release: () => gate.release(),
  entered: () => String(gate.entered),
  dump: () => store.dump(),
};

const server = createServer((req, res) => {
  const url = new URL(req.url, 'http://localhost');
  if (url.pathname.startsWith('/_control/')) {
    res.end(controls[url.pathname.slice('/_control/'.length)](url.searchParams.get('value')) ?? '');
  } else if (url.pathname.startsWith('/admin/')) {
    req.url = req.url.slice('/admin'.length);
    admin(req, res);
  } else user(req, res);
});
server.listen(0, '127.0.0.1', () =>
  process.send({
    port: server.address().port,
    name: peer.name,
    version: peer.version,
    stateless: peer.stateless ?? false,
  }),
);
