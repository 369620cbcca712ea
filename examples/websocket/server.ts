import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';

import { InMemoryBackend } from 'routing-controllers-sessions';
import { Container } from 'typedi';

import { createApp } from './app.js';
import { Room } from './room.js';
import { Sockets } from './sockets.js';

const { PORT = '3000' } = process.env;

const FILES: Record<string, readonly [file: string, type: string]> = {
  '/': ['page/index.html', 'text/html; charset=utf-8'],
  '/page.js': ['page/page.js', 'text/javascript; charset=utf-8'],
  '/stay-connected.js': ['page/stay-connected.js', 'text/javascript; charset=utf-8'],
};

const { app, sessions } = createApp({
  secretKey: randomBytes(32).toString('base64url'),
  backend: new InMemoryBackend(),
});
const answer = app.callback();
const server = createServer((request, response) => {
  const found = FILES[request.url ?? ''];
  if (found) response.writeHead(200, { 'Content-Type': found[1] }).end(readFileSync(found[0]));
  else void answer(request, response);
});
const sockets = new Sockets(server, sessions, Container.get(Room));
setInterval(() => {
  sockets.beat();
}, 30_000).unref();
process.once('SIGTERM', () => {
  server.close();
  sockets.close();
});
server.listen(Number(PORT), () => {
  console.log(`http://localhost:${PORT}`);
});
