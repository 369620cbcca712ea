import type { IncomingMessage, Server } from 'node:http';
import type { Duplex } from 'node:stream';

import {
  InvalidSessionDataError,
  type Session,
  type SessionCookie,
  SessionGoneError,
  SessionUnavailableError,
} from 'routing-controllers-sessions';
import { type RawData, type WebSocket, WebSocketServer } from 'ws';

import type { UserSession } from './app.js';
import type { Room } from './room.js';

/**
 * The session is over: the client must not connect again, but log in. Codes from 4000 to 4999 are for applications, and this one
 * is named after 401. A code of its own, because every other code and a lost network mean that the client should come back: one
 * that did so after this would be refused for ever.
 */
export const SESSION_OVER = 4401;
/** The store was away for so long that nobody could tell. The client comes back later. Registered at IANA. */
export const TRY_AGAIN_LATER = 1013;
export const GOING_AWAY = 1001;

/** Milliseconds that a client has to close its side, before the connection is cut: one that does not could go on listening. */
const CLOSING = 1_000;

interface Member {
  session: Session<UserSession>;
  /** Whether it has answered since the last heartbeat. */
  isAlive: boolean;
}

/** The sockets to a room. Only those with a session get in, and they stay as long as it lasts. */
export class Sockets {
  readonly #members = new Map<WebSocket, Member>();
  readonly #server = new WebSocketServer({ noServer: true, maxPayload: 4096 });

  constructor(
    server: Server,
    private readonly sessions: SessionCookie<UserSession>,
    private readonly room: Room,
  ) {
    server.on('upgrade', (request, socket, head) => void this.#admit(request, socket, head));
  }

  /** The number of open sockets. */
  get size(): number {
    return this.#members.size;
  }

  /** Cuts off those that did not answer the last call, and asks the others for a sign of life. The server calls it at intervals. */
  beat(): void {
    for (const [client, member] of this.#members) {
      if (member.isAlive) client.ping();
      else client.terminate();
      member.isAlive = false;
    }
  }

  /** The process ends. The clients connect to another one. */
  close(): void {
    for (const client of this.#members.keys()) client.close(GOING_AWAY);
  }

  /** Until the handshake is done it is HTTP, and a refusal is an HTTP answer. */
  async #admit(request: IncomingMessage, socket: Duplex, head: Buffer): Promise<void> {
    const drop = () => socket.destroy();
    socket.on('error', drop);
    try {
      const session = await this.sessions.authenticate(request);
      if (!session) {
        refuse(socket, '403 Forbidden');
        return;
      }
      this.#server.handleUpgrade(request, socket, head, client => {
        socket.off('error', drop);
        this.#join(client, session);
      });
    } catch (error) {
      if (error instanceof SessionUnavailableError) refuse(socket, '503 Service Unavailable', 'Retry-After: 1');
      else {
        console.error(error);
        refuse(socket, '500 Internal Server Error');
      }
    }
  }

  #join(client: WebSocket, session: Session<UserSession>): void {
    const { signal } = session;
    const member: Member = { session, isAlive: true };
    let cut: NodeJS.Timeout | undefined;
    const leave = this.room.hear(line => {
      client.send(JSON.stringify(line));
    });
    const over = () => {
      if (signal.reason instanceof SessionGoneError) client.close(SESSION_OVER, 'The session is over');
      else client.close(TRY_AGAIN_LATER, 'Sessions are unavailable');
      cut = setTimeout(() => {
        client.terminate();
      }, CLOSING);
    };
    this.#members.set(client, member);
    client.on('error', () => {
      client.terminate();
    });
    client.on('close', () => {
      leave();
      clearTimeout(cut);
      this.#members.delete(client);
      signal.removeEventListener('abort', over);
    });
    client.on('pong', () => (member.isAlive = true));
    client.on('message', data => {
      // What is still on its way when the session is over does not count any more.
      if (!signal.aborted) void this.#hear(client, session, data);
    });
    // It may be over since the handshake began, and then there is no event.
    if (signal.aborted) over();
    else {
      signal.addEventListener('abort', over);
      client.send(JSON.stringify({ from: 'server', text: `hello, ${session.data.nickname}` }));
    }
  }

  async #hear(client: WebSocket, session: Session<UserSession>, data: RawData): Promise<void> {
    const message = parse(data);
    // Pages send `{}` to keep proxies from closing a silent connection. Nobody needs to sit there for that.
    if (!message.say && !message.nickname) return;
    session.touch();
    const { say, nickname } = message;
    if (say) this.room.say({ from: session.data.nickname, text: say });
    if (!nickname) return;
    try {
      await session.update(user => {
        user.nickname = nickname;
      });
    } catch (error) {
      if (error instanceof SessionGoneError) return;
      const isRefused = error instanceof InvalidSessionDataError;
      client.send(JSON.stringify({ from: 'server', text: isRefused ? 'not that name' : 'try again' }));
    }
  }
}

function refuse(socket: Duplex, status: string, header = ''): void {
  const headers = ['Connection: close', 'Content-Length: 0', ...(header ? [header] : [])];
  socket.end(`HTTP/1.1 ${status}\r\n${headers.join('\r\n')}\r\n\r\n`);
}

interface Message {
  say?: string | undefined;
  nickname?: string | undefined;
}

function parse(data: RawData): Message {
  try {
    const { say, nickname } = JSON.parse((data as Buffer).toString()) as Record<string, unknown>;
    const text = (value: unknown) => (typeof value === 'string' ? value : undefined);
    return { say: text(say), nickname: text(nickname) };
  } catch {
    return {};
  }
}
