const api = 'http://localhost:3000';

/** `credentials: 'include'` sends and stores cookies of another origin. Without it, every request is one without a session. */
async function send(method, path, body) {
  const response = await fetch(api + path, {
    method,
    credentials: 'include',
    ...(body ? { headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(body) } : {}),
  });
  return response.ok ? response.json() : undefined;
}

const element = id => document.getElementById(id);

function show(user) {
  element('status').textContent = user ? `${user.username}: ${user.clicks} clicks` : 'Not logged in';
  element('login').hidden = user !== undefined;
  element('click').hidden = element('logout').hidden = user === undefined;
}

element('login').addEventListener('submit', async event => {
  event.preventDefault();
  show(await send('POST', '/login', { username: new FormData(event.target).get('username') }));
});
element('click').addEventListener('click', async () => show(await send('POST', '/clicks')));
element('logout').addEventListener('click', async () => {
  await send('POST', '/logout');
  show(undefined);
});
show(await send('GET', '/me'));
