import { randomBytes } from 'node:crypto';
import { createServer } from 'node:http';

import { createApp } from './app.js';
import { Sockets } from './sockets.js';

const { PORT = '3000' } = process.env;
const { app, sessions } = createApp(randomBytes(32).toString('base64url'));
const answer = app.callback();
const server = createServer((request, response) => void answer(request, response));
const sockets = new Sockets(server, sessions);
setInterval(() => {
  sockets.recheck().catch((error: unknown) => {
    console.error('sockets', error);
  });
}, 10_000).unref();
server.listen(Number(PORT), () => {
  console.log(`http://localhost:${PORT}`);
});
