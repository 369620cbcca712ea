import { stayConnected } from './stay-connected.js';

const element = id => document.getElementById(id);
const field = (event, name) => new FormData(event.target).get(name);
const post = (path, body = {}) =>
  fetch(path, { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(body) });

/** An answer of 503, as while the store is away, does not mean that there is no session. */
const isLoggedIn = async () => (await fetch('/me')).status !== 403;

let send = () => undefined;

function enter() {
  show(true, 'Logged in');
  send = stayConnected(`${location.protocol.replace('http', 'ws')}//${location.host}`, {
    isLoggedIn,
    onMessage({ from, text }) {
      const line = document.createElement('li');
      line.textContent = `${from}: ${text}`;
      element('lines').append(line);
    },
    onOver: () => show(false, 'Your session is over. Log in again.'),
  });
}

function show(isIn, status) {
  element('status').textContent = status;
  element('login').hidden = isIn;
  element('room').hidden = !isIn;
}

// A sign of life keeps proxies from closing a silent connection. It is not activity: a page left open does not stay logged in.
setInterval(() => send({}), 25_000);

element('login').addEventListener('submit', async event => {
  event.preventDefault();
  if ((await post('/login', { username: field(event, 'username') })).ok) enter();
});
element('say').addEventListener('submit', event => {
  event.preventDefault();
  send({ say: field(event, 'say') });
  event.target.reset();
});
element('rename').addEventListener('submit', event => {
  event.preventDefault();
  send({ nickname: field(event, 'nickname') });
});
// The socket closes with 4401, in every tab and on every device concerned: `onOver` does the rest.
element('logout').addEventListener('click', () => post('/logout'));
element('logout-everywhere').addEventListener('click', () => post('/logout-everywhere'));
if (await isLoggedIn()) enter();
