import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';

import { Container } from 'typedi';
import { WebSocket } from 'ws';

import { createApp } from '../../examples/websocket/app.js';
import { SESSION_OVER, Sockets } from '../../examples/websocket/sockets.js';
import { Client } from '../support/client.js';
import { Clock } from '../support/clock.js';

describe('the example with WebSockets', () => {
  const clock = new Clock();
  let server: Server;
  let sockets: Sockets;
  let host: string;
  let opened: WebSocket[] = [];

  beforeEach(async () => {
    const { app, sessions } = createApp('a-secret-of-the-tests-32-bytes-long', clock.now);
    const answer = app.callback();
    server = createServer((request, response) => void answer(request, response));
    sockets = new Sockets(server, sessions);
    await once(server.listen(0, '127.0.0.1'), 'listening');
    host = `127.0.0.1:${(server.address() as AddressInfo).port}`;
  });
  afterEach(() => {
    Container.reset();
    for (const socket of opened) socket.terminate();
    opened = [];
    server.closeAllConnections();
    server.close();
  });

  async function member(username: string) {
    const client = new Client(`http://${host}`);
    await client.post('/login').send({ username }).expect(200);
    const socket = open({ cookie: `session=${client.cookie() ?? ''}` });
    return { client, socket, greeting: await heard(socket) };
  }

  const open = (headers: Record<string, string>) => {
    const socket = new WebSocket(`ws://${host}`, { headers });
    opened.push(socket);
    return socket;
  };
  const heard = async (socket: WebSocket) => {
    const [text] = (await once(socket, 'message')) as [Buffer];
    return JSON.parse(text.toString()) as unknown;
  };
  const codeOfClosing = async (socket: WebSocket) => ((await once(socket, 'close')) as [number])[0];

  test('what a member says, all hear', async () => {
    const [ada, bob] = [await member('ada'), await member('bob')];
    expect(ada.greeting).toEqual({ from: 'server', text: 'hello, ada' });
    const both = Promise.all([heard(ada.socket), heard(bob.socket)]);
    bob.socket.send('tea?');
    expect(await both).toEqual([
      { from: 'bob', text: 'tea?' },
      { from: 'bob', text: 'tea?' },
    ]);
  });

  test('a socket without a session is refused, and one that a page of another origin opens', async () => {
    const { client } = await member('ada');
    const cookie = `session=${client.cookie() ?? ''}`;
    for (const headers of [{}, { cookie: 'session=invented' }, { cookie, origin: 'https://evil.example' }]) {
      const [error] = (await once(open(headers), 'error')) as [Error];
      expect(error.message).toContain('403');
    }
  });

  test('a log-out closes the sockets of its session, and no others', async () => {
    const [ada, bob] = [await member('ada'), await member('bob')];
    const closed = codeOfClosing(ada.socket);
    await ada.client.post('/logout').expect(200);
    expect(await closed).toBe(SESSION_OVER);
    const echo = heard(bob.socket);
    bob.socket.send('still here');
    expect(await echo).toEqual({ from: 'bob', text: 'still here' });
  });

  test('an expired session loses its sockets at the next check', async () => {
    const { socket } = await member('ada');
    await sockets.recheck();
    const echo = heard(socket);
    socket.send('still here');
    await echo;
    clock.advance(3601);
    const closed = codeOfClosing(socket);
    await sockets.recheck();
    expect(await closed).toBe(SESSION_OVER);
  });
});
