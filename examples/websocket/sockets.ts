import type { IncomingMessage, Server } from 'node:http';

import type { SessionCookie } from 'routing-controllers-sessions';
import { type WebSocket, WebSocketServer } from 'ws';

import type { UserSession } from './app.js';

/** The code that a client gets when its session is over. Codes from 4000 are for applications. */
export const SESSION_OVER = 4001;

interface Member {
  id: string;
  username: string;
  request: IncomingMessage;
}

/** A room: what a member says, all hear. Only sockets with a session get in, and they stay as long as it lasts. */
export class Sockets {
  readonly #members = new Map<WebSocket, Member>();
  readonly #server = new WebSocketServer({ noServer: true, maxPayload: 4096 });

  constructor(
    server: Server,
    private readonly sessions: SessionCookie<UserSession>,
  ) {
    server.on('upgrade', (request, socket, head) => {
      socket.on('error', () => socket.destroy());
      this.sessions.authenticate(request).then(
        session => {
          if (!session) {
            socket.end('HTTP/1.1 403 Forbidden\r\n\r\n');
            return;
          }
          const member = { id: session.id, username: session.data.username, request };
          this.#server.handleUpgrade(request, socket, head, client => {
            this.#join(client, member);
          });
        },
        () => socket.end('HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\n\r\n'),
      );
    });
    // Reports the sessions that this process ended, at once. `recheck` finds the others.
    sessions.on('ended', ({ id }) => {
      for (const [client, member] of this.#members) if (member.id === id) client.close(SESSION_OVER, 'Logged out');
    });
  }

  /** Closes the sockets whose session expired, or was ended by another process. The server calls it at intervals. */
  async recheck(): Promise<void> {
    await Promise.all(
      [...this.#members].map(async ([client, { request }]) => {
        const session = await this.sessions.authenticate(request);
        if (!session) client.close(SESSION_OVER, 'The session is over');
      }),
    );
  }

  #join(client: WebSocket, member: Member): void {
    this.#members.set(client, member);
    client.on('error', () => {
      client.terminate();
    });
    client.on('close', () => this.#members.delete(client));
    client.on('message', (text: Buffer) => {
      const line = JSON.stringify({ from: member.username, text: text.toString() });
      for (const each of this.#members.keys()) each.send(line);
    });
    client.send(JSON.stringify({ from: 'server', text: `hello, ${member.username}` }));
  }
}
